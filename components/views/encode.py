"""Files of a medium to raw vectors, each encoded once: streaming, resumable, with progress, in flat memory.

    raw, problems = encoded(files, source, encoder, cache, ...)    # raw [files, width], a mapped file

What was encoded is kept by the content's digest and the encoder's key, so that a run that was killed, or a day on which
a few pictures came, encodes what is new alone. A file that is refused has its reason in `problems`, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.media import pictures, sounds
from components.media.files import Refused, Source
from components.progress import Progress
from components.settings.views import Media, Views
from components.storage.artifacts import publishing
from components.views import waves

_PART = 512
"""Vectors of a file of the cache."""


class Encoder(Protocol):
    """What reads pictures."""

    key: str
    """Name, version and weights: another key, another cache."""
    side: int
    width: int

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[pictures, side, side, 3] -> [pictures, width]"""


@dataclass(frozen=True)
class File:
    """A file of a medium."""

    name: str
    digest: str
    """Of its content."""


class Cache:
    """Vectors by digest, in small files of one encoder."""

    def __init__(self, folder: Path, key: str, width: int) -> None:
        self._folder = folder / sha256(f"{key} {width}".encode()).hexdigest()[:16]
        self._width = width
        self._pending: list[tuple[str, NDArray[np.float32]]] = []
        self._place: dict[str, tuple[int, int]] = {}
        self._parts = sorted(self._folder.glob("*.npz")) if self._folder.is_dir() else []
        for number, part in enumerate(list(self._parts)):
            for row, digest in enumerate(_read(part)[0]):
                self._place.setdefault(str(digest), (number, row))

    def __contains__(self, digest: str) -> bool:
        return digest in self._place

    def add(self, digest: str, vector: NDArray[np.float32]) -> None:
        """Keep a vector; every `_PART` of them are written."""
        self._place[digest] = (len(self._parts), len(self._pending))
        self._pending.append((digest, vector))
        if len(self._pending) == _PART:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        if not self._pending:
            return
        digests, vectors = zip(*self._pending, strict=True)
        # Named by what is in it: `add-items` may fill this cache while `views` does, and a number would be taken twice.
        part = self._folder / f"{sha256(' '.join(digests).encode()).hexdigest()[:16]}.npz"
        with publishing(part) as temporary, temporary.open("wb") as stream:
            np.savez(stream, digests=np.array(digests), vectors=np.stack(vectors))
        self._parts.append(part)
        self._pending = []

    def fill(self, digests: Sequence[str | None], into: NDArray[np.float32]) -> None:
        """Write the vectors of `digests` into the rows of `into`; a part of the cache is read once."""
        rows: dict[int, list[tuple[int, int]]] = {}
        for row, digest in enumerate(digests):
            if digest is not None and digest in self._place:
                part, place = self._place[digest]
                rows.setdefault(part, []).append((row, place))
        for part, places in sorted(rows.items()):
            vectors = _read(self._parts[part])[1]
            to, of = zip(*places, strict=True)
            into[list(to)] = vectors[list(of)]


def encoded(
    files: Sequence[File | None],
    source: Source,
    encoder: Encoder | None,
    folder: Path,
    medium: Media,
    settings: Views,
    progress: Progress,
    task: str,
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """[files, width] in a mapped file under `folder`, zeros where there is none; and row -> why a file is not used.

    Without an encoder the files are sounds.
    """
    key, width = (waves.KEY, waves.WIDTH) if encoder is None else (encoder.key, encoder.width)
    bounds = f"{settings.max_seconds}" if encoder is None else pictures.READ
    cache = Cache(folder, f"{key} {bounds}", width)
    wanted: dict[str, int] = {}
    for row, file in enumerate(files):
        if file is not None and file.digest not in cache:
            wanted.setdefault(file.digest, row)
    problems: dict[str, str] = {}
    todo = [(digest, str(file.name)) for digest, row in wanted.items() if (file := files[row]) is not None]
    done = sum(file is not None for file in files) - len(todo)
    try:
        tracked = progress.track(todo, task, total=done + len(todo), start=done)
        if encoder is None:
            for digest, name in tracked:
                try:
                    rate, samples = sounds.decode(
                        source.read(name, most=medium.max_bytes), seconds=settings.max_seconds
                    )
                    cache.add(digest, waves.encode(rate, samples))
                except Refused as error:
                    problems[digest] = str(error)
        else:
            for batch in _batches(tracked, source, encoder.side, medium, settings, problems):
                vectors = encoder.encode(np.stack([pixels for _, pixels in batch]))
                for (digest, _), vector in zip(batch, vectors, strict=True):
                    cache.add(digest, vector)
    finally:
        cache.flush()  # a run that is stopped goes on here
    scratch = folder / f"{task}.npy"
    scratch.unlink(missing_ok=True)  # another run may have it mapped, or linked
    raw = np.lib.format.open_memmap(scratch, "w+", np.float32, (len(files), width))
    cache.fill([None if file is None else file.digest for file in files], raw)
    return raw, {row: problems[file.digest] for row, file in enumerate(files) if file and file.digest in problems}


def _batches(
    todo: Iterator[tuple[str, str]],
    source: Source,
    side: int,
    medium: Media,
    settings: Views,
    problems: dict[str, str],
) -> Iterator[list[tuple[str, NDArray[np.uint8]]]]:
    """Decoded pictures, some at a time; what is refused is put into `problems`."""
    batch = []
    for digest, name in todo:
        try:
            content = source.read(name, most=medium.max_bytes)
            pixels = pictures.decode(content, side=side, most_pixels=medium.max_pixels, seconds=settings.max_seconds)
        except Refused as error:
            problems[digest] = str(error)
            continue
        batch.append((digest, pixels))
        if len(batch) == settings.batch:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(part: Path) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    try:
        with np.load(part, allow_pickle=False) as found:
            return found["digests"], found["vectors"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        mend = "remove it: its pictures are encoded again"
        raise BadInput(f"a damaged part of the cache of encoded files: {error}", where=str(part), mend=mend) from error
