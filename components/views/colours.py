"""Colours of a picture: shares of named colours, histograms of hue and brightness in four quarters, edges.

A statistic, not a network: always there, and the floor that a network has to be above.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 48
NAMES = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "teal", "blue", "purple", "pink")
_HUES = (15, 45, 70, 165, 200, 260, 300, 345)
"""Where red, orange, yellow, green, teal, blue, purple, pink end, in degrees; behind the last it is red again."""
_OF_HUE = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "red")
_BINS = 8
_SPOKEN = 0.25
"""A colour of so large a share of the picture is a word of it."""
WIDTH = len(NAMES) + 4 * 2 * _BINS + 3


class Colours:
    """The encoder of `views.pictures: colours`."""

    key = "colours 2"
    side = SIDE
    width = WIDTH

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[pictures, side, side, 3] -> [pictures, WIDTH]; the first are the shares of `NAMES`."""
        rgb = pixels.astype(np.float32) / np.float32(255)
        hue, saturation, value = _hsv(rgb)
        count, pixels_each = len(pixels), self.side**2
        names = np.arange(count)[:, None, None] * len(NAMES) + _named(hue, saturation, value)
        shares = np.bincount(names.ravel(), minlength=count * len(NAMES)).reshape(count, -1) / pixels_each
        half = np.arange(self.side) >= self.side // 2
        quarter = 2 * half[:, None] + half[None, :]
        start = (np.arange(count)[:, None, None] * 4 + quarter) * _BINS
        histograms = []
        for scaled, weight in ((hue / 360, saturation), (value, np.ones_like(value))):
            bins = start + np.minimum((scaled * _BINS).astype(np.int64), _BINS - 1)
            found = np.bincount(bins.ravel(), weight.ravel(), minlength=count * 4 * _BINS)
            histograms.append(found.reshape(count, -1) / (pixels_each / 4))
        edges = sum(np.abs(np.diff(value, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
        rest = np.stack([saturation.mean(axis=(1, 2)), value.std(axis=(1, 2)), edges], axis=1)
        parts = np.concatenate([shares, *histograms, rest], axis=1)
        return np.sqrt(parts).astype(np.float32)  # of shares: distances of Hellinger


def words(vector: NDArray[np.float32]) -> list[str]:
    """Names of the colours of at least a quarter of the picture, the largest first."""
    shares = vector[: len(NAMES)] ** 2
    order = np.argsort(-shares, kind="stable")
    return [NAMES[each] for each in order if shares[each] >= _SPOKEN]


def _hsv(rgb: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Hue in degrees, saturation and value of 0 to 1."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value, least = rgb.max(axis=-1), rgb.min(axis=-1)
    spread = value - least
    safe = np.where(spread > 0, spread, 1)
    hue = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = np.where(spread > 0, hue * 60, 0)
    return hue.astype(np.float32), (spread / np.where(value > 0, value, 1)).astype(np.float32), value


def _named(hue: NDArray[np.float32], saturation: NDArray[np.float32], value: NDArray[np.float32]) -> NDArray[np.int64]:
    """A place in `NAMES` for each pixel."""
    of_hue = np.array([NAMES.index(name) for name in _OF_HUE])
    found = of_hue[np.searchsorted(_HUES, hue, side="right")]
    found = np.where((found == NAMES.index("orange")) & (value < 0.6), NAMES.index("brown"), found)
    grey = np.where(value > 0.85, NAMES.index("white"), NAMES.index("grey"))
    found = np.where(saturation < 0.15, grey, found)
    return np.where(value < 0.2, NAMES.index("black"), found)
