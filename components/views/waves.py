"""Statistics of a sound's log-mel spectrum: means, deviations and changes of its bands, and how fast it beats.

A statistic, not a network (Davis and Mermelstein, 1980, for the bands): always there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KEY = "log-mel statistics 1"
_BANDS, _WINDOW, _HOP, _LAGS = 24, 1024, 512, 24
WIDTH = 3 * _BANDS + _LAGS
_RATE = 16_000
"""Sounds are read at this rate, by linear interpolation."""


def encode(rate: int, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """[WIDTH] of a sound of any length and rate."""
    if rate != _RATE:
        times = np.arange(int(len(samples) * _RATE / rate)) / _RATE * rate
        samples = np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
    if len(samples) < _WINDOW + _HOP:
        samples = np.pad(samples, (0, _WINDOW + _HOP - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    bands = np.log(power @ _filters().T + 1e-6)
    loud = bands.mean(axis=1)
    loud = loud - loud.mean()
    spread = float(loud @ loud) or 1.0
    beats = [float(loud[lag:] @ loud[:-lag]) / spread if lag < len(loud) else 0.0 for lag in range(1, _LAGS + 1)]
    parts = [bands.mean(axis=0), bands.std(axis=0), np.abs(np.diff(bands, axis=0)).mean(axis=0), np.array(beats)]
    return np.concatenate(parts).astype(np.float32)


def _filters() -> NDArray[np.float64]:
    """[bands, frequencies] triangles, evenly spaced in mel."""
    top = 2595 * np.log10(1 + _RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    frequencies = np.linspace(0, _RATE / 2, _WINDOW // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))
