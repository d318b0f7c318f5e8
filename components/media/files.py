"""The files of a medium: names and sizes in a folder or a zip archive, and their bytes, as many as are allowed.

with Source.open(path) as source:
    for name, size in source.files():
        content = source.read(name, most=32 << 20)
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Self

from components.errors import BadInput

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
SOUNDS = (".wav",)
_HIDDEN = "hidden"


class Refused(Exception):
    """A file that is not used: `reason` is one of a few words that are counted, the text says more."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason


class Source:
    """A folder or a zip archive of files."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self._path, self._archive = path, archive

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Raises `BadInput` for what is neither a folder nor a sound zip archive."""
        mend = "name a folder or a zip file of pictures in ingest.media"
        if path.is_dir():
            yield cls(path, None)
            return
        if not path.is_file():
            raise BadInput("there are no such files of a medium", where=str(path), mend=mend)
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise BadInput(f"not a sound zip archive: {error}", where=str(path), mend=mend) from error
        with archive:
            yield cls(path, archive)

    def files(self) -> list[tuple[str, int]]:
        """(name, bytes) of each picture and sound, by the ending of its name, sorted; hidden ones are left out."""
        return sorted(each for each in self._found() if _left_out(each[0]) is None)

    def left_out(self) -> Counter[str]:
        """Reason -> how many files are not among `files`; hidden ones are not counted."""
        reasons = (_left_out(name) for name, _ in self._found())
        return Counter(reason for reason in reasons if reason not in (None, _HIDDEN))

    def _found(self) -> list[tuple[str, int]]:
        if self._archive is not None:
            return [(each.filename, each.file_size) for each in self._archive.infolist() if not each.is_dir()]
        return [
            (each.relative_to(self._path).as_posix(), each.stat().st_size)
            for each in self._path.rglob("*")
            if each.is_file()
        ]

    def read(self, name: str, *, most: int) -> bytes:
        """The bytes of a file. Raises `Refused` for one of more than `most`, or that cannot be read."""
        try:
            if self._archive is None:
                inner = PurePosixPath(name)
                if inner.is_absolute() or ".." in inner.parts:
                    raise Refused("not there", "its name leaves the folder")
                with (self._path / name).open("rb") as stream:
                    content = stream.read(most + 1)
            else:
                # What an archive says of a file's size may be a lie: no more than that is ever unpacked.
                with self._archive.open(name) as packed:
                    content = packed.read(most + 1)
        except KeyError as error:
            raise Refused("not there", name) from error
        except (OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError) as error:
            raise Refused("unreadable", str(error)) from error
        if len(content) > most:
            raise Refused("too many bytes", f"more than {most:,}")
        if not content:
            raise Refused("empty")
        return content


def _left_out(name: str) -> str | None:
    """Why a file is none of the medium, None where it is."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return "outside"
    if any(part.startswith((".", "__")) for part in path.parts):
        return _HIDDEN
    if path.suffix.lower() not in PICTURES + SOUNDS:
        return "other_ending"
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of an old file system, which no table can hold
        return "name_no_text"
    return None
