"""Lazy frames over CSV, TSV, JSON lines and Parquet, and what went wrong in words that help.

Every value of a text file is scanned as text (`infer_schema=False`), so that an id 007 stays "007"; `canonical` gives
the types. Polars says that a file is broken but not where: `collect` looks again, slowly, for the line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from itertools import islice
from typing import Literal, NoReturn

import polars as pl

from components.data.canonical.tables import RawFile
from components.errors import BadInput

_SEPARATORS = {"csv": ",", "tsv": "\t"}
_SPOKEN = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_LINES_FOR_KEYS = 10_000


def scan(file: RawFile, *, header: list[str] | None = None, separator: str | None = None) -> pl.LazyFrame:
    """A lazy frame over `file`; text files give text columns, Parquet what it holds.

    `header`: names of the columns of a file that has none. In TSV files a quote is a character like any other, in CSV
    it quotes. Raises `BadInput` for an empty file, a wrong delimiter or a column twice.
    """
    if file.kind == "parquet":
        frame = pl.scan_parquet(file.path)
        _names(frame, file)
        return frame
    if file.kind == "jsonl":
        return pl.scan_ndjson(file.path, schema=dict.fromkeys(json_keys(file), pl.String))
    separator = separator or _SEPARATORS[file.kind]
    frame = pl.scan_csv(
        file.path,
        separator=separator,
        has_header=header is None,
        infer_schema=False,
        quote_char='"' if separator == "," else None,
    )
    names = _names(frame, file)
    if header is None:
        _check_header(names, file, separator)
        return frame
    if len(names) != len(header):
        raise BadInput(
            f"has {len(names)} columns, expected {len(header)}: {', '.join(header)}",
            where=file.shown,
            mend="get a whole copy of the file",
        )
    return frame.rename(dict(zip(names, header, strict=True)))


def lines(file: RawFile) -> pl.LazyFrame:
    """One text column `line` with the lines of `file`, for layouts that no table reader knows (`1::2::3`)."""
    # U+001F, the unit separator, stands in no text file: each line is one field.
    frame = pl.scan_csv(
        file.path, separator="\x1f", has_header=False, new_columns=["line"], infer_schema=False, quote_char=None
    )
    _names(frame, file)
    return frame


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


def explain(error: Exception, file: RawFile) -> NoReturn:
    """Say where `file` is broken, by reading it again line by line."""
    if file.kind == "jsonl":
        _find_broken_json(file)
    if file.kind in ("csv", "tsv"):
        _find_broken_row(file, _SEPARATORS[file.kind])
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if file.kind == "parquet":
        mend = "write it again as Parquet, or name it by what it holds (.csv, .tsv, .jsonl)"
        raise BadInput(f"not readable as Parquet: {said}", where=file.shown, mend=mend) from error
    mend = "save it as UTF-8 text, one record a line"
    raise BadInput(f"not readable as text ({file.kind}): {said}", where=file.shown, mend=mend) from error


def json_keys(file: RawFile) -> list[str]:
    """All keys of the first 10,000 lines of a JSON-lines file, in the order they appear. Raises `BadInput`."""
    keys: dict[str, None] = {}
    with file.path.open("rb") as stream:
        for number, line in enumerate(islice(stream, _LINES_FOR_KEYS), start=1):
            if line.strip():
                keys.update(dict.fromkeys(_json_object(line, file, number)))
    if not keys:
        raise BadInput("holds no JSON object", where=file.shown, mend="one JSON object a line")
    return list(keys)


def _json_object(line: bytes, file: RawFile, number: int) -> dict[str, object]:
    mend = "one JSON object a line, UTF-8; remove or correct that line"
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        what = f"line {number} is not JSON: {error}"
        if number == 1 and line.lstrip()[:1] == b"[":
            what, mend = "holds one JSON array, not JSON lines", "write one object a line (jq -c '.[]' does it)"
        raise BadInput(what, where=f"{file.shown}, line {number}", mend=mend) from error
    if not isinstance(value, dict):
        found = type(value).__name__
        raise BadInput(f"line {number} holds a {found}, not an object", where=f"{file.shown}, line {number}", mend=mend)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value (write null)")


def _find_broken_json(file: RawFile) -> None:
    with file.path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                _json_object(line, file, number)


def _find_broken_row(file: RawFile, separator: str) -> None:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    try:
        with file.path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, delimiter=separator, quoting=quoting, strict=True)
            width = len(next(rows, []))
            for row in rows:
                if len(row) > width:
                    raise BadInput(
                        f"line {rows.line_num} has {len(row)} fields, the first line {width}",
                        where=f"{file.shown}, line {rows.line_num}",
                        mend="quote fields that hold the separator, or remove what is too much",
                    )
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 (byte {error.object[error.start]:#04x})", where=file.shown, mend="save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise BadInput(
            f"not sound CSV: {error}", where=f"{file.shown}, line {rows.line_num}", mend="close or double the quote"
        ) from error


def _names(frame: pl.LazyFrame, file: RawFile) -> list[str]:
    try:
        return frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        explain(error, file)


def _check_header(names: list[str], file: RawFile, separator: str) -> None:
    if len(names) == 1:
        for other in (",", "\t", ";", "|"):
            if other in names[0] and other != separator:
                raise BadInput(
                    f"one single column {names[0][:80]!r}: a .{file.kind} file has {_SPOKEN[separator]} between its "
                    f"columns, this one seems to have {_SPOKEN[other]}",
                    where=file.shown,
                    mend="name it .tsv" if other == "\t" else "save it with commas (.csv) or tabs (.tsv)",
                )
    twice = [name for name in names if name.endswith("_duplicated_0")]
    if twice:
        name = twice[0].removesuffix("_duplicated_0")
        raise BadInput(f"column {name!r} stands twice in the header", where=file.shown, mend="rename or drop one")
