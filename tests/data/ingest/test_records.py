"""The count of raw records: equal to a slow reader's on every sound file, wherever the pieces of it end."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data.canonical.tables import RawFile
from components.data.ingest import records, structure
from components.settings.params import QUOTINGS, Quoting

CELL = st.text('ab7"\\, \n\r;é', max_size=6)


def written(rows: list[list[str]], quoting: Quoting, separator: str) -> bytes:
    """A file as its writers write it; the plain one has no quotes at all and no line end within a cell."""
    if quoting == "unquoted":
        return "".join(separator.join(row) + "\n" for row in rows).encode()
    out = io.StringIO(newline="")
    escape = {} if quoting == "rfc4180" else {"doublequote": False, "escapechar": "\\"}
    csv.writer(out, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL, **escape).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue().encode()


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=12),
    quoting=st.sampled_from(QUOTINGS),
    piece=st.integers(1, 64),
)
def test_the_count_is_that_of_a_slow_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[list[str]], quoting: Quoting, piece: int
) -> None:
    """Prevents: a count that depends on where the file was cut into pieces, or on what stands in a quoted field."""
    monkeypatch.setattr(structure, "CHUNK", piece)
    monkeypatch.setattr(records, "swallowed", lambda *_: None)  # what looks like a record is another question
    if quoting == "unquoted":
        rows = [["".join(sign for sign in cell if sign not in '",\n\r') for cell in row] for row in rows]
    elif quoting == "backslash":
        rows = [[cell.replace("\\", "") for cell in row] for row in rows]
    rows = [["id", "name", "more"], *([f"x{row[0]}", *row[1:]] for row in rows)]
    path = tmp_path / "x.csv"
    path.write_bytes(written(rows, quoting, ","))
    found = records.count(RawFile("x", path, "csv"), quoting, ",")
    assert found.problem is None
    assert found.records == len(rows) - 1


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b'a,b\n1,2\n3,4"\n', 3, "a quote stands within a field"),
        (b'a,b\n1,2\n"3"x,4\n', 3, "goes on behind its closing quote"),
        (b'a,b\n"x\ny",2\n3,"4\n5,6\n', 4, "does not end"),
        (b'a,b\n"x\ny",2\n3\n5,6\n', 4, "line 4 has 1 fields, the first line 2"),
        (b"a,b\n1,2\n3,4,5\n", 3, "line 3 has 3 fields, the first line 2"),
    ],
)
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_the_first_fault_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, line: int, what: str, piece: int
) -> None:
    monkeypatch.setattr(structure, "CHUNK", piece)
    (tmp_path / "x.csv").write_bytes(content)
    problem = records.count(RawFile("x", tmp_path / "x.csv", "csv"), "rfc4180", ",").problem
    assert problem is not None and problem.line == line and what in problem.what


def test_lines_of_json_are_counted_without_blank_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'\n{"a": 1}\r\n\r\n  \n {"a": 2}\n\n{"a": 3}')
    for piece in (1, 2, 5, 1 << 20):
        monkeypatch.setattr(records, "CHUNK", piece)
        found = records.count_lines(RawFile("x", tmp_path / "x.jsonl", "jsonl"))
        assert (found.records, found.ends_with_newline) == (3, False)
