"""Lazy frames over CSV, TSV, JSON lines and Parquet; what Polars finds wrong in words that help.

A file is counted and held to its dialect first (`soundness`). Every value of a text file is scanned as text
(`infer_schema=False`), so that an id 007 stays "007"; `canonical` gives the types.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from pathlib import Path

import polars as pl

from components.data.canonical.tables import Kind, RawFile
from components.data.ingest import rawfiles
from components.data.ingest.soundness import NOTHING, SEPARATORS, checked, explain, json_object, usual_quoting
from components.errors import BadInput
from components.settings.params import Quoting

_NULL = "\\N"
"""How databases write an absent value (MySQL, PostgreSQL, Hive)."""
_LINES_FOR_KEYS = 10_000
_MORE_PLACES, _LINES_THERE = 64, 50
"""Beyond its first lines, a JSON-lines file is asked for keys at so many places, so many lines each."""


def table(
    paths: Sequence[Path],
    scratch: Path,
    *,
    key: str,
    kind: Kind | None = None,
    encoding: str | None = None,
    header: list[str] | None = None,
    separator: str | None = None,
    quoting: Quoting | None = None,
) -> tuple[pl.LazyFrame, RawFile]:
    """The parts of one table as one lazy frame, each unpacked, counted and held to its dialect; and its file.

    key: `items` or `interactions`, for messages. For the others see `prepare`, `checked` and `scan`. Raises `BadInput`.
    """
    files, frames = [], []
    empty = [path for path in paths if path.stat().st_size == 0] if len(paths) > 1 else []
    for path in [path for path in paths if path not in empty] or paths:
        file = rawfiles.prepare(path, scratch, kind=kind, encoding=encoding)
        file = checked(file, scratch, key=key, header=header, separator=separator, quoting=quoting)
        files.append(file)
    keys = list(dict.fromkeys(name for file in files if file.kind == "jsonl" for name in json_keys(file)))
    for file in files:
        frames.append(scan(file, header=header, separator=separator, quoting=quoting, keys=keys))
    whole = rawfiles.together(files)
    remarks = (f"{path.name} is empty (0 bytes); it holds no record." for path in empty)
    return _joined(frames, files), dataclasses.replace(whole, remarks=(*whole.remarks, *remarks))


def scan(
    file: RawFile,
    *,
    header: list[str] | None = None,
    separator: str | None = None,
    quoting: Quoting | None = None,
    keys: Sequence[str] = (),
) -> pl.LazyFrame:
    """A lazy frame over one file; text files give text columns, Parquet what it holds.

    `header`: names of the columns of a file that has none. `keys`: columns of a JSON-lines file (none: those found in
    it). Raises `BadInput` for an empty file, a wrong delimiter or a column twice.
    """
    if file.kind == "parquet":
        frame = pl.scan_parquet(file.path)
        _names(frame, file)
        return frame
    if file.kind == "jsonl":
        return pl.scan_ndjson(file.path, schema=dict.fromkeys(keys or json_keys(file), pl.String))
    separator = separator or SEPARATORS[file.kind]
    frame = pl.scan_csv(
        file.path,
        separator=separator,
        has_header=header is None,
        infer_schema=False,
        skip_lines=_leading_blank(file, separator),
        quote_char=None if (quoting or usual_quoting(file, separator)) == "unquoted" else '"',
        null_values=_NULL,
    )
    names = _names(frame, file)
    if header is None:
        _check_header(names, file)
    else:
        frame = frame.rename(dict(zip(names, header, strict=True)))
    return _without_no_records(frame) if file.skip else frame


def lines(file: RawFile) -> pl.LazyFrame:
    """One text column `line` with the lines of `file`, for layouts that no table reader knows (`1::2::3`)."""
    # U+001F, the unit separator, stands in no text file: each line is one field.
    frame = pl.scan_csv(
        file.path, separator="\x1f", has_header=False, new_columns=["line"], infer_schema=False, quote_char=None
    )
    _names(frame, file)
    return frame.filter(pl.col("line").str.strip_chars() != "")


def _without_no_records(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Without rows that hold nothing, or the names of their columns."""
    columns = frame.collect_schema().names()
    empty = pl.all_horizontal(pl.col(name).fill_null("").str.strip_chars() == "" for name in columns)
    header = pl.all_horizontal(pl.col(name).eq_missing(pl.lit(name)) for name in columns)
    return frame.filter(~empty & ~header)


def _joined(frames: list[pl.LazyFrame], files: list[RawFile]) -> pl.LazyFrame:
    """Parts one after the other. Raises `BadInput` where they have other columns, which no order can join."""
    if len(frames) == 1:
        return frames[0]
    schemas = [frame.collect_schema() for frame in frames]
    for schema, file in zip(schemas[1:], files[1:], strict=True):
        if set(schema) != set(schemas[0]):
            differ = sorted(set(schema) ^ set(schemas[0]))
            raise BadInput(
                f"parts of one table have different columns: {', '.join(differ[:12])} only in one of them",
                where=f"{files[0].shown} and {file.shown}",
                mend="name only files of the same columns together, or write the missing columns",
            )
    names = schemas[0].names()
    mixed = [name for name in names if len({schema[name] for schema in schemas}) > 1]
    as_text = [pl.col(name).cast(pl.String) for name in mixed]
    try:
        return pl.concat([frame.select(names).with_columns(as_text) for frame in frames])
    except pl.exceptions.PolarsError as error:
        raise BadInput(
            f"parts of one table cannot be joined: {str(error).splitlines()[0]}",
            where=", ".join(file.shown for file in files[:12]),
            mend="write the parts with the same types",
        ) from error


def collect(frame: pl.LazyFrame, file: RawFile) -> pl.DataFrame:
    """Collect a frame that reads `file`; whatever Polars finds wrong becomes a `BadInput` that names the line."""
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        explain(error, file)


def require_plain(frame: pl.LazyFrame, columns: Iterable[str], file: RawFile) -> None:
    """Raise `BadInput` for a column (of those given) that holds lists, records or bytes (Parquet can)."""
    schema = frame.collect_schema()
    for name in columns:
        if name in schema and (schema[name].is_nested() or schema[name] in (pl.Binary, pl.Object)):
            raise BadInput(
                f"column {name} holds {schema[name]}, not one plain value a row",
                where=file.shown,
                mend="write it as text or number, or map another column in ingest.columns",
            )


def json_keys(file: RawFile) -> list[str]:
    """The keys of a JSON-lines file in the order they appear: of its first 10,000 lines, and of samples behind them.

    Raises `BadInput`.
    """
    keys: dict[str, None] = {}
    with file.path.open("rb") as stream:
        for number, line in enumerate(islice(stream, _LINES_FOR_KEYS), start=1):
            if line.strip():
                keys.update(dict.fromkeys(json_object(line, file, number)))
        behind, size = stream.tell(), file.path.stat().st_size
        for place in range(behind, size, max((size - behind) // _MORE_PLACES, 1)):
            stream.seek(place)
            stream.readline()  # the rest of a line
            for line in islice(stream, _LINES_THERE):
                try:
                    keys.update(dict.fromkeys(json.loads(line)))
                except (ValueError, TypeError, RecursionError):
                    break  # whoever collects the frame names that line
            if stream.tell() >= size:
                break
    if not keys:
        raise BadInput("holds no JSON object", where=file.shown, mend="one JSON object a line")
    return list(keys)


def _names(frame: pl.LazyFrame, file: RawFile) -> list[str]:
    try:
        return frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        explain(error, file)


def _leading_blank(file: RawFile, separator: str) -> int:
    """Lines before the first that holds something: Polars would take the columns from them."""
    with file.path.open("rb") as stream:
        return sum(1 for _ in takewhile(lambda line: not line.strip(NOTHING + separator.encode()), stream))


def _check_header(names: list[str], file: RawFile) -> None:
    twice = [name for name in names if name.endswith("_duplicated_0")]
    if twice:
        name = twice[0].removesuffix("_duplicated_0")
        raise BadInput(f"column {name!r} stands twice in the header", where=file.shown, mend="rename or drop one")
