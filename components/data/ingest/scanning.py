"""Lazy frames over CSV, TSV, JSON lines and Parquet, and what went wrong in words that help.

Every file is counted, and its quoting held to one dialect, before Polars reads it (`records`): Polars itself passes
over a stray quote and swallows rows. Every value of a text file is scanned as text (`infer_schema=False`), so that an
id 007 stays "007"; `canonical` gives the types. Polars says that a file is broken but not where: `collect` looks again,
slowly, for the line.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import NoReturn

import polars as pl

from components.data.canonical.tables import Kind, RawFile
from components.data.ingest import rawfiles, records
from components.errors import BadInput
from components.settings.params import Quoting

_SEPARATORS = {"csv": ",", "tsv": "\t"}
_SPOKEN = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_NOTHING = b" \t\r\n,;|"
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


def checked(
    file: RawFile,
    scratch: Path,
    *,
    key: str,
    header: list[str] | None = None,
    separator: str | None = None,
    quoting: Quoting | None = None,
) -> RawFile:
    """`file` with its records counted, in RFC 4180 where its quotes were behind backslashes.

    Raises `BadInput` naming the first line that its dialect (None: the usual one of its kind) does not allow.
    """
    if file.kind == "parquet":
        return dataclasses.replace(file, records=_rows_of_parquet(file))
    if file.kind == "jsonl" or (file.kind == "lines" and separator is None):
        return _counted(file, records.count_lines(file))
    separator = separator or _SEPARATORS[file.kind]
    dialect = quoting or usual_quoting(file, separator)
    if header is None:
        _check_delimiter(file, separator)
    else:
        _check_width(file, separator, header)
    found = records.count(file, dialect, separator, header=header is None, width=len(header) if header else None)
    if found.problem:
        raise _refused(file, found.problem, dialect, separator, header, key)
    file = _counted(file, found)
    return _without_backslashes(file, scratch) if dialect == "backslash" else file


def beginning(file: RawFile, scratch: Path, key: str) -> tuple[RawFile, Quoting | None]:
    """`file` ready to be scanned for a look at its first rows, and its dialect (None: it is not delimited).

    Raises `BadInput` with the line where no dialect fits.
    """
    if file.kind not in _SEPARATORS:
        return file, None
    separator = _SEPARATORS[file.kind]
    _check_delimiter(file, separator)
    dialect, found = records.fitting(file, separator)
    if found.problem is not None:
        raise _refused(file, found.problem, dialect, separator, None, key)
    file = _counted(file, found)
    return (_without_backslashes(file, scratch) if dialect == "backslash" else file), dialect


def is_sound(file: RawFile, dialect: Quoting) -> bool:
    """Whether the beginning of a file with a header is sound in a dialect."""
    return records.count(file, dialect, _SEPARATORS[file.kind], limit=records.BEGINNING).problem is None


def usual_quoting(file: RawFile, separator: str) -> Quoting:
    """Quotes quote in tables with commas, and are characters in all others."""
    return "rfc4180" if separator == "," else "unquoted"


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
    separator = separator or _SEPARATORS[file.kind]
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


def explain(error: Exception, file: RawFile) -> NoReturn:
    """Say where `file` is broken, by reading it again line by line."""
    for part in file.parts or (file,):
        if part.kind == "jsonl":
            _find_broken_json(part)
        elif part.kind != "parquet":
            _find_broken_text(part)
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if file.kind == "parquet":
        mend = "write it again as Parquet, or name it by what it holds (.csv, .tsv, .jsonl)"
        raise BadInput(f"not readable as Parquet: {said}", where=file.shown, mend=mend) from error
    mend = "save it as UTF-8 text, one record a line"
    raise BadInput(f"not readable as text ({file.kind}): {said}", where=file.shown, mend=mend) from error


def _counted(file: RawFile, found: records.Counted) -> RawFile:
    """`file` with what was counted in it, and what people should know of it."""
    name, remarks = Path(file.shown).name, []
    if not found.ends_with_newline:
        remarks.append(f"{name} ends without a line end; if it was cut off, its last record is too: {found.last_line}.")
    if found.headers_again:
        remarks.append(f"{name} repeats its header {found.headers_again:,} times; these lines are no records.")
    if found.blank:
        remarks.append(f"{name} has {found.blank:,} lines that hold nothing; they are no records.")
    skip = bool(found.blank or found.headers_again)
    return dataclasses.replace(file, records=found.records, skip=skip, remarks=tuple(remarks))


def _refused(
    file: RawFile, problem: records.Problem, dialect: Quoting, separator: str, header: list[str] | None, key: str
) -> BadInput:
    """Where the dialect is broken, and which other one is not."""
    where = f"{file.shown}, line {problem.line}"
    if problem.cut:
        return BadInput(
            f"the file ends in the middle of a record: {problem.what}",
            where=where,
            mend="get a whole copy of it: nobody knows what is missing behind that line",
        )
    width = len(header) if header else None
    for other in ("rfc4180", "backslash", "unquoted"):
        if other == dialect or "field" not in problem.what:
            continue
        if records.count(file, other, separator, header=header is None, width=width).problem is None:
            return BadInput(
                f"not sound in the dialect {dialect}: {problem.what}",
                where=where,
                mend=f"correct that line, or set ingest.quoting: {{{key}: {other}}}: the whole file is sound in it",
            )
    mend = "correct that line: a field that holds the separator or a quote stands in quotes, quotes within are doubled"
    return BadInput(f"{problem.what} (read as {dialect}, and no other dialect fits)", where=where, mend=mend)


def _without_backslashes(file: RawFile, scratch: Path) -> RawFile:
    """A copy in RFC 4180: a quote behind a backslash stands doubled, a backslash behind one alone."""
    target = scratch / f"{len(list(scratch.iterdir()))}-rfc4180.{file.kind}"
    with file.path.open("rb") as source, target.open("wb") as sink:
        for line in source:  # an escape never crosses the end of a line
            sink.write(_ESCAPE.sub(lambda found: b'""' if found[1] == b'"' else b"\\", line))
    return dataclasses.replace(file, path=target)


_ESCAPE = re.compile(rb'\\(["\\])')


def _rows_of_parquet(file: RawFile) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(file.path).num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        explain(error, file)


def json_keys(file: RawFile) -> list[str]:
    """The keys of a JSON-lines file in the order they appear: of its first 10,000 lines, and of samples behind them.

    Raises `BadInput`.
    """
    keys: dict[str, None] = {}
    with file.path.open("rb") as stream:
        for number, line in enumerate(islice(stream, _LINES_FOR_KEYS), start=1):
            if line.strip():
                keys.update(dict.fromkeys(_json_object(line, file, number)))
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


def _find_broken_text(file: RawFile) -> None:
    number = 0
    try:
        with file.path.open("rb") as stream:
            for line in stream:
                number += 1
                line.decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 (byte {error.object[error.start]:#04x})",
            where=f"{file.shown}, line {number}",
            mend="save it as UTF-8",
        ) from error


def _names(frame: pl.LazyFrame, file: RawFile) -> list[str]:
    try:
        return frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        explain(error, file)


def first_line(file: RawFile) -> str:
    """The first line of a file that holds something."""
    with file.path.open("rb") as stream:
        line = next((line for line in stream if line.strip(_NOTHING)), b"")
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _leading_blank(file: RawFile, separator: str) -> int:
    """Lines before the first that holds something: Polars would take the columns from them."""
    with file.path.open("rb") as stream:
        return sum(1 for _ in takewhile(lambda line: not line.strip(_NOTHING + separator.encode()), stream))


def _check_width(file: RawFile, separator: str, header: list[str]) -> None:
    """Raise `BadInput` where a file without a header has another number of columns than its layout."""
    columns = first_line(file).count(separator) + 1
    if columns != len(header):
        raise BadInput(
            f"has {columns} columns, expected {len(header)}: {', '.join(header)}",
            where=file.shown,
            mend="get a whole copy of the file",
        )


def _check_delimiter(file: RawFile, separator: str) -> None:
    """Raise `BadInput` where the first line has another separator instead of this one."""
    first = first_line(file)
    if separator in first:
        return
    for other in (",", "\t", ";", "|"):
        if other in first:
            raise BadInput(
                f"one single column {first[:80]!r}: a .{file.kind} file has {_SPOKEN[separator]} between its "
                f"columns, this one seems to have {_SPOKEN[other]}",
                where=file.shown,
                mend="name it .tsv" if other == "\t" else "save it with commas (.csv) or tabs (.tsv)",
            )


def _check_header(names: list[str], file: RawFile) -> None:
    twice = [name for name in names if name.endswith("_duplicated_0")]
    if twice:
        name = twice[0].removesuffix("_duplicated_0")
        raise BadInput(f"column {name!r} stands twice in the header", where=file.shown, mend="rename or drop one")
