"""Whether a raw file is sound: its records counted, its quoting held to one dialect, its broken line named.

Every file is counted (`records`) before Polars reads it: Polars itself passes over a stray quote and swallows rows. It
says that a file is broken but not where: `explain` looks again, slowly, for the line.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import NoReturn

from components.data.canonical.tables import RawFile
from components.data.ingest import records
from components.data.ingest.structure import Counted, Problem
from components.errors import BadInput
from components.settings.params import Quoting

SEPARATORS = {"csv": ",", "tsv": "\t"}
_SPOKEN = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
NOTHING = b" \t\r\n,;|"
_ESCAPE = re.compile(rb'\\(["\\])')


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
    separator = separator or SEPARATORS[file.kind]
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
    if file.kind not in SEPARATORS:
        return file, None
    separator = SEPARATORS[file.kind]
    _check_delimiter(file, separator)
    dialect, found = records.fitting(file, separator)
    if found.problem is not None:
        raise _refused(file, found.problem, dialect, separator, None, key)
    file = _counted(file, found)
    return (_without_backslashes(file, scratch) if dialect == "backslash" else file), dialect


def is_sound(file: RawFile, dialect: Quoting) -> bool:
    """Whether the beginning of a file with a header is sound in a dialect."""
    return records.count(file, dialect, SEPARATORS[file.kind], limit=records.BEGINNING).problem is None


def usual_quoting(file: RawFile, separator: str) -> Quoting:
    """Quotes quote in tables with commas, and are characters in all others."""
    return "rfc4180" if separator == "," else "unquoted"


def first_line(file: RawFile) -> str:
    """The first line of a file that holds something."""
    with file.path.open("rb") as stream:
        line = next((line for line in stream if line.strip(NOTHING)), b"")
    return line.decode("utf-8", "replace").rstrip("\r\n")


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


def json_object(line: bytes, file: RawFile, number: int) -> dict[str, object]:
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
                json_object(line, file, number)


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


def _counted(file: RawFile, found: Counted) -> RawFile:
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
    file: RawFile, problem: Problem, dialect: Quoting, separator: str, header: list[str] | None, key: str
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


def _rows_of_parquet(file: RawFile) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(file.path).num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        explain(error, file)


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
