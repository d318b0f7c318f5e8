"""Rows that a stray quote has swallowed: lines within one quoted field that look like the records around it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from components.data.ingest.structure import SUSPECTS, Counted, Problem, shown
from components.settings.params import Quoting

_HEAD = 1 << 20
_FEW = 10


def swallowed(path: Path, separator: str, quoting: Quoting, found: Counted) -> Problem | None:
    """Two stray quotes make one field of all rows between them, and each of these rows still looks like a record.

    A line within a quoted field is taken for a record where every column that is written in one shape throughout
    (`u00`, 1600736600) has that shape there too. Without such a column it takes all lines within quoted fields to have
    a record's number of separators.
    """
    shapes = _shapes(path, separator, quoting)
    for opened, line, text in found.suspects:
        values = text.decode("utf-8", "replace").split(separator)
        if len(values) != len(shapes):
            continue
        told = [(shape, value) for shape, value in zip(shapes, values, strict=True) if shape is not None]
        alike = all(shape_of(value) == shape for shape, value in told)
        if (told and alike) or (not told and len(found.suspects) == found.inner_lines):
            what = f"a quoted field opens in line {opened} and swallows lines that look like records"
            return Problem(opened, f"{what}, such as line {line}: {shown(text)}")
    return None


def _shapes(path: Path, separator: str, quoting: Quoting) -> list[str | None]:
    """The shape of each column, where nine of ten values have the same with a digit; of the first thousand records.

    Of those on one line, if there are some; else of all lines, as every record may lie in one field.
    """
    with path.open("rb") as stream:
        text = stream.read(_HEAD).decode("utf-8-sig", "replace")
    escape = "\\" if quoting == "backslash" else None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, escapechar=escape, doublequote=escape is None)
    header: list[str] = []
    single: list[list[str]] = []
    try:
        header = next(rows, [])
        for row in islice(rows, SUSPECTS):
            if len(row) == len(header) and not any("\n" in value for value in row):
                single.append(row)
    except csv.Error:
        pass
    if len(single) < _FEW:
        lines = (line.split(separator) for line in text.splitlines()[1:])
        single = [row for row in islice(lines, SUSPECTS) if len(row) == len(header)]
    shapes: list[str | None] = []
    for column in zip(*single, strict=True):
        shape, most = Counter(map(shape_of, column)).most_common(1)[0]
        shapes.append(shape if most * 10 >= len(column) * 9 and "9" in shape else None)
    return shapes


def shape_of(value: str) -> str:
    """`u00` and `u7` -> `a9`: runs of digits and of letters, everything else as it is."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", value.strip().strip('"')))
