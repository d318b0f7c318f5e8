"""From the name of a raw file to something that can be scanned: found, not empty, unpacked, in UTF-8.

Compressed files are unpacked into a scratch folder rather than read through a decompressor: Polars then scans them
lazily in bounded memory, and a cut-off archive shows here, in one place, with its name.
"""

from __future__ import annotations

import errno
import gzip
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from components.data.canonical.tables import Kind, RawFile
from components.errors import BadInput

PACKED = (".gz", ".zst")
KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_CHUNK = 1 << 20


def plain_name(name: str) -> str:
    """File name without the ending of its compression: `items.jsonl.gz` -> `items.jsonl`."""
    return name.rsplit(".", 1)[0] if name.endswith(PACKED) else name


def kind_of(name: str) -> Kind | None:
    """What the ending of a file name says about its content; None where it says nothing."""
    return KINDS.get(Path(plain_name(name)).suffix.lower())


def names_in(folder: Path) -> list[str]:
    """Names of the files of `folder`, sorted. Raises `BadInput` if it is not there or has none."""
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "does not exist"
        raise BadInput(
            f"the folder of the raw files {found}",
            where=str(folder),
            mend="set ingest.path, or link your data into data/raw/ with `idiom init PATH`",
        )
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    if not names:
        raise BadInput("the folder of the raw files is empty", where=str(folder), mend="put the raw files there")
    return names


def locate(folder: Path, given: str | None, usual: Sequence[str], *, key: str) -> Path:
    """The file named in the parameters, or the first that has one of the usual names (packed or not).

    `usual` holds endings: "ratings.csv" also finds "ml_ratings.csv.gz". Raises `BadInput` with what is there instead.
    """
    if given is not None:
        if not (folder / given).is_file():
            there = ", ".join(names_in(folder)[:12])
            raise BadInput(
                "file is missing", where=str(folder / given), mend=f"correct ingest.{key}; the folder holds: {there}"
            )
        return folder / given
    names = names_in(folder)
    for ending in usual:
        fitting = [name for name in names if plain_name(name).lower().endswith(ending)]
        if fitting:  # the shortest: items.csv, not cart_items.csv
            return folder / min(fitting, key=lambda name: (len(plain_name(name)), name))
    raise BadInput(
        f"no file looks like the {key} (expected a name that ends in {' or '.join(usual)})",
        where=str(folder),
        mend=f"name it in ingest.{key}; the folder holds: {', '.join(names[:12])}",
    )


def prepare(
    path: Path, scratch: Path, *, kind: Kind | None = None, encoding: str = "utf-8", limit: int | None = None
) -> RawFile:
    """Unpack `path` if need be and recode it to UTF-8; `scratch` holds the copies. Raises `BadInput`.

    `kind` overrides what the ending says (MovieLens calls a table `u.data`). `limit`: unpack whole lines of about so
    many bytes only, for a look at the beginning.
    """
    found = kind or kind_of(path.name)
    if found is None:
        known = " ".join(sorted(KINDS))
        raise BadInput(
            f"the ending of {path.name} says nothing about its content",
            where=str(path),
            mend=f"name it by its content: {known}, also with .gz or .zst",
        )
    if path.stat().st_size == 0:
        raise BadInput("file is empty (0 bytes)", where=str(path), mend="get a whole copy of it")
    plain = path
    if path.name.endswith(PACKED) or encoding != "utf-8":
        plain = scratch / f"{len(list(scratch.iterdir()))}-{plain_name(path.name)}"
        with opened(path) as source, plain.open("wb") as target:
            _copy(source, target, encoding, limit)
        if plain.stat().st_size == 0:
            raise BadInput("file is empty once unpacked", where=str(path), mend="get a whole copy of it")
    return RawFile(shown=str(path), path=plain, kind=found)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for reading bytes, through its decompressor; a broken archive is a `BadInput`, also while reading."""
    mend = "the copy is cut off or damaged: get it again"
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path) as stream:
                yield stream  # type: ignore[misc]
        elif path.name.endswith(".zst"):
            import pyarrow as pa

            with pa.input_stream(str(path), compression="zstd") as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except EOFError as error:
        raise BadInput("gzip archive ends in the middle", where=str(path), mend=mend) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"not a sound gzip archive: {error}", where=str(path), mend=mend) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            mend = f"free space in {tempfile.gettempdir()}, or set TMPDIR to a folder with more"
            raise BadInput("no room to unpack it", where=str(path), mend=mend) from error
        if not path.name.endswith(".zst"):
            raise BadInput(f"cannot be read: {error.strerror or error}", where=str(path), mend=mend) from error
        raise BadInput(f"not a sound zstd archive: {error}", where=str(path), mend=mend) from error


def _copy(source: IO[bytes], target: IO[bytes], encoding: str, limit: int | None) -> None:
    """Copy as UTF-8; only single-byte encodings are recoded, so that a chunk is whole characters."""
    while chunk := source.read(_CHUNK):
        target.write(chunk if encoding == "utf-8" else chunk.decode(encoding).encode())
        if limit is not None and target.tell() >= limit:
            target.write(source.readline())
            return
