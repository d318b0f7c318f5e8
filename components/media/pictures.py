"""A picture in bounds: refused by its header where it has too many pixels, given up after some seconds.

    look(content, most_pixels=40_000_000)                      # (format, width, height), nothing decoded
    rgb = decode(content, side=64, most_pixels=..., seconds=5)     # [side, side, 3] uint8
    content = png(rgb)
    jpeg = thumbnail(content, side=64, most_pixels=..., seconds=5)

Pillow decodes JPEG, PNG, WebP, GIF (its first frame) and BMP, and is asked for no other format: some run programs.
"""

from __future__ import annotations

import io
import signal
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.media.files import Refused

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
READ = "upright 1"
"""How pixels are read: another one, another cache of what was made of them."""
_WHITE = (255, 255, 255)
_ORIENTATION = 0x0112


def look(content: bytes, *, most_pixels: int) -> tuple[str, int, int]:
    """Format, width and height by the header. Raises `Refused`."""
    with _opened(content, most_pixels) as picture:
        return str(picture.format), picture.width, picture.height


def decode(content: bytes, *, side: int, most_pixels: int, seconds: float) -> NDArray[np.uint8]:
    """[side, side, 3] RGB: the whole picture, upright, stretched to a square, transparent parts on white. Raises
    `Refused`."""
    with _within(seconds), _opened(content, most_pixels) as picture:
        return np.asarray(_upright(_resized(picture, (side, side)), picture), np.uint8)


def thumbnail(content: bytes, *, side: int, most_pixels: int, seconds: float) -> bytes:
    """A JPEG whose longer side is at most `side`, without anything else that the file holds. Raises `Refused`."""
    to = io.BytesIO()
    with _within(seconds), _opened(content, most_pixels) as picture:
        scale = min(1.0, side / max(picture.width, picture.height, 1))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        _upright(_resized(picture, size), picture).save(to, "JPEG", quality=80)
    return to.getvalue()


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """RGB of that width and height, transparent parts on white, before it is turned upright."""
    from PIL import Image

    picture.draft("RGB", size)  # a JPEG is decoded at an eighth of its size where that is enough
    if picture.mode.startswith("I"):  # 16 bits of grey, which `convert` would cut off at 255: all white
        picture = Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "LA", "PA"):
        return picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    clear = picture.convert("RGBA").resize(size, Image.Resampling.BILINEAR)
    flat = Image.new("RGB", clear.size, _WHITE)
    flat.paste(clear, mask=clear.getchannel("A"))
    return flat


def _upright(small: Image.Image, of: Image.Image) -> Image.Image:
    """Turned as the EXIF of the picture it was made of says; as it is where that says nothing or is damaged."""
    from PIL import Image

    try:
        turn = of.getexif().get(_ORIENTATION)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, RuntimeError, struct.error):
        return small
    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    if not isinstance(turn, int) or not 2 <= turn <= 8:
        return small
    return small.transpose(Image.Transpose[turns[turn - 2]])


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of [height, width, 3] RGB, of few colours where it has few."""
    from PIL import Image

    to = io.BytesIO()
    picture = Image.fromarray(pixels)
    if picture.getcolors(256) is not None:
        picture = picture.quantize(256)
    picture.save(to, "PNG", optimize=True)
    return to.getvalue()


@contextmanager
def _opened(content: bytes, most_pixels: int) -> Iterator[Image.Image]:
    """The picture with its header read; whatever Pillow finds wrong with it, now or later, is a `Refused`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are judged here, and of odd metadata
            try:
                picture = Image.open(io.BytesIO(content), formats=FORMATS)
            except Image.DecompressionBombError as error:
                raise Refused("too many pixels", str(error)) from error
            if picture.width * picture.height > most_pixels:
                raise Refused("too many pixels", f"{picture.width} x {picture.height}")
            yield picture
    except Refused:
        raise
    except UnidentifiedImageError as error:
        raise Refused("no picture", f"none of {', '.join(FORMATS)}") from error
    except MemoryError as error:
        raise Refused("too many pixels", "it does not fit into memory") from error
    except Exception as error:  # its decoders raise a dozen kinds for broken files, IndexError and struct.error too
        raise Refused("broken", f"{type(error).__name__}: {error}") from error


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise `Refused` after so many seconds. Outside the main thread, where Python hears no signal, without a limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def given_up(*_: Any) -> None:
        raise Refused("too slow", f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, given_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
