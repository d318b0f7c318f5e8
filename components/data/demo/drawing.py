"""Pictures and tones of the demo shop, drawn by rule: the same shop gives the same bytes.

draw(shop, boxes, raw / "pictures.zip")                        # ITEM_ID.png
draw(shop, boxes, raw / "tones.zip")                           # ITEM_ID.wav, of music boxes alone

A product is a grey shape on white, drawn by its id, which says nothing. A music box has stripes of its colour, and its
tone beats in its rhythm; hue, stripes and pitch differ a little from box to box.
"""

from __future__ import annotations

import colorsys
import random
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.demo.boxes import Box
from components.data.demo.shop import Shop
from components.media import pictures, sounds
from components.storage.artifacts import publishing

PICTURES, TONES = "pictures.zip", "tones.zip"
_SIDE = 64
_RATE, _SECONDS, _PITCH = 2000, 1.0, 440.0
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_HUE, _DETUNED = 5.0, 0.02


def draw(shop: Shop, boxes: Sequence[Box], to: Path) -> None:
    """Write the archive, of pictures or of tones as it is called."""
    files = _pictures(shop, boxes) if to.name == PICTURES else _tones(shop, boxes)
    with publishing(to) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)


def _pictures(shop: Shop, boxes: Sequence[Box]) -> Iterator[tuple[str, bytes]]:
    hues = shop.settings["music_boxes"]["colours"]
    for product in shop.products:
        for item_id in product.ids:
            yield f"{item_id}.png", pictures.png(_shape(random.Random(f"{shop.settings['seed']} {item_id}")))
    for box in boxes:
        rng = random.Random(f"{shop.settings['seed']} picture {box.item_id}")
        yield f"{box.item_id}.png", pictures.png(_stripes(hues[box.colour] + rng.uniform(-_HUE, _HUE), rng))


def _shape(rng: random.Random) -> NDArray[np.uint8]:
    """A grey polygon of three to eight corners around the middle."""
    across, down = np.meshgrid(*(np.arange(_SIDE) - _SIDE / 2,) * 2)
    corners, turned = rng.randint(3, 8), rng.uniform(0, np.pi)
    angle = np.mod(np.arctan2(down, across) + turned, 2 * np.pi / corners) - np.pi / corners
    inside = np.hypot(across, down) * np.cos(angle) < rng.uniform(0.25, 0.4) * _SIDE
    shade = rng.randint(70, 170)
    return np.where(inside[..., None], shade, 255).astype(np.uint8).repeat(3, axis=2)


def _stripes(hue: float, rng: random.Random) -> NDArray[np.uint8]:
    """Two shades of one hue, in stripes of a width and direction."""
    across, down = np.meshgrid(*(np.arange(_SIDE),) * 2)
    angle, width = rng.uniform(0, np.pi), rng.uniform(6, 14)
    light = np.floor((across * np.cos(angle) + down * np.sin(angle)) / width) % 2 == 0
    shades = [np.array(colorsys.hsv_to_rgb(hue % 360 / 360, 0.85, value)) for value in (0.95, 0.75)]
    return np.round(255 * np.where(light[..., None], *shades)).astype(np.uint8)


def _tones(shop: Shop, boxes: Sequence[Box]) -> Iterator[tuple[str, bytes]]:
    beats = shop.settings["music_boxes"]["rhythms"]
    times = np.arange(int(_RATE * _SECONDS)) / _RATE
    for box in boxes:
        rng = random.Random(f"{shop.settings['seed']} tone {box.item_id}")
        pitch = _PITCH * (1 + rng.uniform(-_DETUNED, _DETUNED))
        since = np.mod(times - rng.uniform(0, 0.02), beats[box.rhythm])
        samples = 0.8 * np.exp(-since / 0.04) * np.sin(2 * np.pi * pitch * times)
        yield f"{box.item_id}.wav", sounds.wav(_RATE, samples.astype(np.float32))
