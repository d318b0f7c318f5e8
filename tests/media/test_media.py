"""Pictures and sounds that are sound, broken, enormous or lying: each is read or refused by itself, in bounds."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from components.errors import BadInput
from components.media import pictures, sounds
from components.media.files import Refused, Source

BOUNDS = {"side": 8, "most_pixels": 10_000, "seconds": 5.0}


def png(colour: tuple[int, ...] = (200, 30, 30), size: tuple[int, int] = (20, 10), kind: str = "PNG") -> bytes:
    to = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(to, kind)
    return to.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises that many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def wav(samples: np.ndarray, *, rate: int = 8000, width: int = 2, channels: int = 1) -> bytes:
    to = io.BytesIO()
    with wave.open(to, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        scaled = np.round(np.repeat(samples, channels) * (2 ** (8 * width - 1) - 1)).astype("<i8")
        raw = scaled + 128 if width == 1 else scaled
        sound.writeframes(raw.view(np.uint8).reshape(-1, 8)[:, :width].tobytes())
    return to.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_every_format_is_decoded_to_its_colour(kind: str) -> None:
    pixels = pictures.decode(png(kind=kind), **BOUNDS)
    assert pixels.shape == (8, 8, 3) and np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


def test_sixteen_bits_of_grey_are_grey() -> None:
    """Prevents: a picture of 16 bits that is all white, whatever it shows."""
    to = io.BytesIO()
    Image.fromarray(np.full((20, 20), 100 << 8, np.uint16)).save(to, "PNG")
    assert (pictures.decode(to.getvalue(), side=8, most_pixels=400, seconds=5) == 100).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_stands_upright(turn: int) -> None:
    """Prevents: photos of a telephone lying on their side on pages, and unlike the same thing in vectors."""
    exif = Image.Exif()
    exif[0x0112] = turn
    to, draw = io.BytesIO(), np.zeros((40, 80, 3), np.uint8)
    draw[:20, :40] = 255
    Image.fromarray(draw).save(to, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(to)).resize((8, 8), Image.Resampling.BILINEAR))
    found = pictures.decode(to.getvalue(), side=8, most_pixels=4000, seconds=5)
    np.testing.assert_allclose(found.astype(int), upright.astype(int), atol=2)
    small = Image.open(io.BytesIO(pictures.thumbnail(to.getvalue(), side=40, most_pixels=4000, seconds=5)))
    assert small.size == ((40, 20) if turn < 5 else (20, 40))


def test_damaged_exif_stops_no_picture() -> None:
    to = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 10, 10)).save(to, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    for content in (to.getvalue(), to.getvalue().replace(b"II*", b"XX*")):
        assert pictures.decode(content, side=8, most_pixels=400, seconds=5)[0, 0, 0] > 190


def test_what_is_transparent_is_white() -> None:
    assert (pictures.decode(png((0, 0, 0, 0)), **BOUNDS) == 255).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bomb(200, 200), "too many pixels"),
        (bomb(60_000, 60_000), "too many pixels"),  # more than Pillow's own limit, where it raises
        (png(size=(90, 90), kind="JPEG")[:400], "broken"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture"),  # Pillow would start a program for it
        (b"hello", "no picture"),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    """Prevents: one file of ten thousand that ends the encoding, and a header that asks for 10 GB."""
    with pytest.raises(Refused) as caught:
        pictures.decode(content, **BOUNDS)
    assert caught.value.reason == reason


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is Python's own; the picture is a large one and the limit nearly nothing."""
    large = png(size=(3000, 3000), kind="PNG")
    with pytest.raises(Refused) as caught:
        pictures.decode(large, side=8, most_pixels=10**8, seconds=0.001)
    assert caught.value.reason == "too slow"
    assert pictures.decode(png(), **BOUNDS).shape == (8, 8, 3)  # and the clock is stopped


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_sound_of_any_width_is_the_same_wave(width: int) -> None:
    wanted = np.sin(np.arange(800) / 20)
    rate, samples = sounds.decode(wav(wanted, width=width, channels=2), seconds=10)
    assert rate == 8000 and np.abs(samples - wanted).max() < (0.02 if width == 1 else 0.001)
    assert len(sounds.decode(wav(wanted), seconds=0.05)[1]) == 400


@pytest.mark.parametrize("content", [b"RIFF", b"ID3 an mp3", wav(np.zeros(0))])
def test_what_is_no_sound_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        sounds.decode(content, seconds=1)


def test_files_of_a_folder_and_of_a_zip_are_the_same(tmp_path: Path) -> None:
    folder, archive = tmp_path / "f", tmp_path / "f.zip"
    (folder / "in").mkdir(parents=True)
    contents = {"a.png": png(), "in/b.jpg": png(kind="JPEG"), "notes.txt": b"-", ".hidden.png": b"-", "empty.png": b""}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
            packed.writestr(name, content)
    for path in (folder, archive):
        with Source.open(path) as source:
            assert [name for name, _ in source.files()] == ["a.png", "empty.png", "in/b.jpg"]
            assert source.read("a.png", most=1 << 20) == png()
            for name, most, reason in (("a.png", 10, "too many bytes"), ("empty.png", 10, "empty")):
                with pytest.raises(Refused) as caught:
                    source.read(name, most=most)
                assert caught.value.reason == reason
            with pytest.raises(Refused):
                source.read("../f.zip", most=10)


def test_a_zip_bomb_is_unpacked_no_further_than_allowed(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", b"\0" * (64 << 20))
    with Source.open(archive) as source, pytest.raises(Refused) as caught:
        source.read("a.png", most=1 << 20)
    assert caught.value.reason == "too many bytes"


def test_a_damaged_file_of_any_packing_is_refused_alone(tmp_path: Path) -> None:
    """Prevents: one broken picture of an archive that was packed by LZMA stops all."""
    for packing in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"{packing}.zip"
        noise = np.random.default_rng(0).bytes(5000)
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr("A.jpg", noise)
            archive.writestr("../B.jpg", noise)
            archive.writestr("/etc/C.jpg", noise)
        content = bytearray(path.read_bytes())
        content[60:2000] = bytes(byte ^ 0xFF for byte in content[60:2000])
        path.write_bytes(content)
        with Source.open(path) as source:
            assert [name for name, _ in source.files()] == ["A.jpg"] and source.left_out() == {"outside": 2}
            with pytest.raises(Refused, match="unreadable"):
                source.read("A.jpg", most=10_000)


def test_what_is_no_archive_is_an_error_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    for name in ("cut.zip", "absent"):
        with pytest.raises(BadInput) as caught, Source.open(tmp_path / name):
            pass
        assert "ingest.media" in caught.value.mend
