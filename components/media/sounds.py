"""A sound in bounds: PCM WAV of 8, 16, 24 or 32 bits, its channels averaged, at most so many seconds from its start.

rate, samples = decode(content, seconds=10)                    # [samples] float32 of -1 to 1
content = wav(rate, samples)
"""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

from components.media.files import Refused

_RATES = (1_000, 400_000)
_CHANNELS = 32


def look(content: bytes) -> tuple[int, float]:
    """Samples a second, and seconds, by the header. Raises `Refused`."""
    with _opened(content) as sound:
        return sound.getframerate(), sound.getnframes() / sound.getframerate()


def decode(content: bytes, *, seconds: float) -> tuple[int, NDArray[np.float32]]:
    """Samples a second, and the samples. Raises `Refused`."""
    with _opened(content) as sound:
        rate, width, channels = sound.getframerate(), sound.getsampwidth(), sound.getnchannels()
        try:
            raw = sound.readframes(int(rate * seconds))
        except (wave.Error, EOFError, ValueError) as error:
            raise Refused("broken", str(error)) from error
    frames = len(raw) // (width * channels)
    if not frames:
        raise Refused("empty", "no samples")
    numbers = np.frombuffer(raw[: frames * width * channels], np.uint8).reshape(-1, width)
    if width == 1:  # 8 bits are unsigned
        values = (numbers[:, 0].astype(np.float32) - 128) / 128
    else:
        wide = np.zeros((len(numbers), 4), np.uint8)
        wide[:, 4 - width :] = numbers
        values = wide.view("<i4")[:, 0].astype(np.float32) / 2**31
    return rate, values.reshape(frames, channels).mean(axis=1, dtype=np.float32)


def wav(rate: int, samples: NDArray[np.float32]) -> bytes:
    """A WAV of one channel and 8 bits a sample."""
    to = io.BytesIO()
    with wave.open(to, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(rate)
        sound.writeframes(np.round(128 + 127 * np.clip(samples, -1, 1)).astype(np.uint8).tobytes())
    return to.getvalue()


def _opened(content: bytes) -> wave.Wave_read:
    try:
        sound = wave.Wave_read(io.BytesIO(content))
    except (wave.Error, EOFError, ValueError) as error:
        raise Refused("no sound", f"no PCM WAV: {error}") from error
    if not _RATES[0] <= sound.getframerate() <= _RATES[1] or not 1 <= sound.getnchannels() <= _CHANNELS:
        raise Refused("broken", f"{sound.getframerate()} samples a second, {sound.getnchannels()} channels")
    if not 1 <= sound.getsampwidth() <= 4:
        raise Refused("no sound", f"{8 * sound.getsampwidth()} bits a sample")
    return sound
