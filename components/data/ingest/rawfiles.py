"""From the name of a raw file to something that can be scanned: found, not empty, unpacked, in UTF-8.

Compressed files are unpacked into a scratch folder rather than read through a decompressor: Polars then scans them
lazily in bounded memory, and a cut-off archive shows here, in one place, with its name. What a file is packed with and
encoded in is told by its first bytes, which do not lie; its name says only what kind of table it is.
"""

from __future__ import annotations

import codecs
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
_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (or a workbook)",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"7z\xbc\xaf": "packed with 7-Zip",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; those of UTF-32 begin with those of UTF-16."""
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


def parts_in(folder: Path) -> list[str]:
    """Names of the data files in a folder that is one table, as Spark writes it: not `_SUCCESS`, not `.part-0.crc`."""
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_file() and not entry.name.startswith((".", "_")) and kind_of(entry.name) is not None
    )


def tables_in(folder: Path) -> list[str]:
    """Names of all that could be a table: files of `folder`, and data files of its folders (`events/part-0.csv`)."""
    inside: list[str] = []
    if folder.is_dir() and not any(entry.is_file() for entry in folder.iterdir()):
        inside = _inside(folder)
    return inside or names_in(folder) + _inside(folder)


def _inside(folder: Path) -> list[str]:
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "_")))
    return [f"{entry.name}/{name}" for entry in folders for name in parts_in(entry)]


def others(folder: Path, read: Sequence[str]) -> list[str]:
    """Names of what lies in `folder` and is not among `read`: files, and folders of which no file is (with a slash)."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            found += [entry.name] if entry.name not in read else []
        elif any(name.startswith(f"{entry.name}/") for name in read):
            found += [f"{entry.name}/{part}" for part in parts_in(entry) if f"{entry.name}/{part}" not in read]
        else:
            found.append(f"{entry.name}/")
    return found


def locate(folder: Path, given: str | list[str] | None, usual: Sequence[str], *, key: str) -> list[Path]:
    """The files of one table: those named in the parameters, or the first that has one of the usual names.

    A name may be a pattern (`2020-*.csv`) or a folder of parts. `usual` holds endings: "ratings.csv" also finds
    "ml_ratings.csv.gz". Raises `BadInput` with what is there instead.
    """
    if given is not None:
        names = [given] if isinstance(given, str) else given
        found = [path for name in names for path in _named(folder, name, key)]
        if twice := [path for path in found if found.count(path) > 1]:
            raise BadInput(
                f"ingest.{key} names a file twice, so that its rows would count double",
                where=str(twice[0]),
                mend=f"name each file once in ingest.{key}",
            )
        return found
    names = names_in(folder)
    for ending in usual:
        fitting = [name for name in names if plain_name(name).lower().endswith(ending)]
        if fitting:  # the shortest: items.csv, not cart_items.csv
            return [folder / min(fitting, key=lambda name: (len(plain_name(name)), name))]
    raise BadInput(
        f"no file looks like the {key} (expected a name that ends in {' or '.join(usual)})",
        where=str(folder),
        mend=f"name it in ingest.{key}; the folder holds: {', '.join(names[:12])}",
    )


def _named(folder: Path, name: str, key: str) -> list[Path]:
    path = folder / name
    if path.is_file():
        return [path]
    if path.is_dir():
        parts = [path / part for part in parts_in(path)]
    else:
        parts = sorted(each for each in folder.glob(name) if each.is_file()) if set("*?[") & set(name) else []
    if not parts:
        there = ", ".join(names_in(folder)[:12])
        found = "the folder holds no data files" if path.is_dir() else "file is missing"
        raise BadInput(found, where=str(path), mend=f"correct ingest.{key}; the folder holds: {there}")
    return parts


def one(paths: Sequence[Path], key: str) -> Path:
    """The only one of `paths`, for layouts whose tables are one file each. Raises `BadInput` for several."""
    if len(paths) > 1:
        raise BadInput(
            f"{len(paths)} files are named as {key}, and this format reads one",
            where=", ".join(map(str, paths)),
            mend=f"name one in ingest.{key}, or join them",
        )
    return paths[0]


def prepare(
    path: Path, scratch: Path, *, kind: Kind | None = None, encoding: str | None = None, limit: int | None = None
) -> RawFile:
    """Unpack `path` if need be and recode it to UTF-8; `scratch` holds the copies. Raises `BadInput`.

    `kind` overrides what the ending says (MovieLens calls a table `u.data`), `encoding` what the first bytes say.
    `limit`: unpack whole lines of about so many bytes only, for a look at the beginning.
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
    with opened(path) as source:
        head = source.read(_CHUNK)
    if not head:
        raise BadInput("file is empty once unpacked", where=str(path), mend="get a whole copy of it")
    found = _kind_by_content(head, found, path)
    if found == "parquet":
        encoding = "utf-8"
    encoding = encoding or _encoding(head)
    plain = path
    if packing(path) or encoding != "utf-8":
        plain = scratch / f"{len(list(scratch.iterdir()))}-{plain_name(path.name)}"
        with opened(path) as source, plain.open("wb") as target:
            try:
                _copy(source, target, encoding, limit)
            except UnicodeDecodeError as error:
                mend = "get a whole copy of it, or save it as UTF-8"
                raise BadInput(f"not sound {encoding}: {error.reason}", where=str(path), mend=mend) from error
        if plain.stat().st_size == 0:
            raise BadInput("file is empty once unpacked", where=str(path), mend="get a whole copy of it")
    return RawFile(shown=str(path), path=plain, kind=found)


def together(files: Sequence[RawFile]) -> RawFile:
    """Several parts as the one table that they are; a single one as it is."""
    if len(files) == 1:
        return files[0]
    folder = Path(files[0].shown).parent
    names = ", ".join(Path(file.shown).name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    counts = [file.records for file in files]
    records = None if None in counts else sum(count for count in counts if count is not None)
    remarks = tuple(remark for file in files for remark in file.remarks)
    shown = f"{folder} ({len(files)} files: {names})"
    return RawFile(shown, files[0].path, files[0].kind, records=records, parts=tuple(files), remarks=remarks)


def packing(path: Path) -> str:
    """`.gz` or `.zst` by the first bytes of a file; by its name where they say nothing; else nothing."""
    with path.open("rb") as stream:
        head = stream.read(8)
    for magic, ending in _FOREIGN.items():
        if head.startswith(magic):
            raise BadInput(f"the file is {ending}", where=str(path), mend="unpack it, or save it as CSV in UTF-8")
    by_content = next((ending for magic, ending in _MAGIC.items() if head.startswith(magic)), "")
    return by_content or next((ending for ending in PACKED if path.name.endswith(ending)), "")


def _kind_by_content(head: bytes, kind: Kind, path: Path) -> Kind:
    """Parquet is told by its first bytes; text that holds NULs, or whose lines end with returns alone, is refused."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if kind != "parquet" and b"\r" in head and b"\n" not in head and b"\0" not in head:
        mend = "save it with line ends of Unix or Windows (`tr '\\r' '\\n'` does it)"
        raise BadInput("its lines end with carriage returns alone", where=str(path), mend=mend)
    return kind


def _encoding(head: bytes) -> str:
    """By the byte order mark; without one, text in which every other byte is 0 is UTF-16."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    beginning = head[:4096]
    if len(beginning) >= 4:
        for name, zeros in (("utf-16-le", beginning[1::2]), ("utf-16-be", beginning[0::2])):
            if zeros.count(0) * 2 > len(zeros):
                return name
    return "utf-8"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for reading bytes, through its decompressor; a broken archive is a `BadInput`, also while reading."""
    mend = "the copy is cut off or damaged: get it again"
    packed = packing(path)
    try:
        if packed == ".gz":
            with gzip.open(path) as stream:
                yield stream  # type: ignore[misc]
        elif packed == ".zst":
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
        if packed != ".zst":
            raise BadInput(f"cannot be read: {error.strerror or error}", where=str(path), mend=mend) from error
        raise BadInput(f"not a sound zstd archive: {error}", where=str(path), mend=mend) from error


def first_line(path: Path) -> str:
    """The first line of a file that may be broken; empty where not even that can be read."""
    try:
        with opened(path) as stream:
            line = stream.readline(_CHUNK)
        return line.decode(_encoding(line), "replace").strip()
    except (BadInput, UnicodeError):
        return ""


def _copy(source: IO[bytes], target: IO[bytes], encoding: str, limit: int | None) -> None:
    """Copy as UTF-8 without a byte order mark; with `limit`, whole lines of about so many bytes."""
    if encoding == "utf-8-sig":
        source.read(len(codecs.BOM_UTF8))
    decoder = None if encoding.startswith("utf-8") else codecs.getincrementaldecoder(encoding)()
    while chunk := source.read(_CHUNK):
        target.write(chunk if decoder is None else decoder.decode(chunk).encode())
        if limit is not None and target.tell() >= limit and decoder is None:
            target.write(source.readline())
            return
    if decoder is not None:
        target.write(decoder.decode(b"", final=True).encode())
