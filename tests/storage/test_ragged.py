"""Rows end to end: what is gathered from one long array is what the lists hold, in memory and in mapped files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.storage.ragged import Ragged, RaggedWriter, Strings, slices

ROWS = [[], [7, 8], [], [9], [1, 2, 3], []]


def test_what_is_cut_out_is_what_the_lists_hold() -> None:
    """Against lists. Prevents a boundary that is off by one, most likely beside an empty row: a prompt would then hold
    another user's items."""
    rows = Ragged.of(ROWS)
    assert [row.tolist() for row in rows] == ROWS == [rows.row(at).tolist() for at in range(len(rows))]
    assert rows.lengths.tolist() == [len(row) for row in ROWS]
    assert rows.owners.tolist() == [number for number, row in enumerate(ROWS) for _ in row]
    assert rows.starts_of(np.arange(len(rows.values))).tolist() == rows.offsets[rows.owners].tolist()
    assert rows.starts_of(2) == 2
    asked = np.array([4, 1, 0, 4])
    assert rows.lengths_of(asked).tolist() == [3, 2, 0, 3]
    row, column, value = rows.gather(asked)
    found = [[int(v) for r, v in zip(row, value, strict=True) if r == number] for number in range(len(asked))]
    assert found == [ROWS[at] for at in asked]
    assert column.tolist() == [place for at in asked for place in range(len(ROWS[at]))]
    _, _, value = slices(rows.values, np.array([1, 4]), np.array([2, 1]))
    assert value.tolist() == [8, 9, 2]
    assert len(Ragged.of([])) == 0 and Ragged.of([]).lengths.tolist() == []


def test_rows_survive_their_files(tmp_path: Path) -> None:
    """Prevents rows that shift where a piece ends or is empty, and a crash on a file without a number in it."""
    with RaggedWriter(tmp_path, "rows", np.int32) as writer:
        for piece in ([[1, 2], []], [], [[3]], [[], [4, 5, 6]]):
            flat = np.array([value for row in piece for value in row])
            writer.add(np.array([len(row) for row in piece], dtype=np.int64), flat)
    rows = Ragged.load(tmp_path, "rows", np.int32)
    assert [rows.row(at).tolist() for at in range(len(rows))] == [[1, 2], [], [3], [], [4, 5, 6]]
    assert rows.values.dtype == np.int32 and not rows.values.flags.writeable
    with RaggedWriter(tmp_path, "none", np.uint8) as writer:
        writer.add(np.zeros(2, np.int64), np.zeros(0, np.uint8))
    texts = Strings(Ragged.load(tmp_path, "none", np.uint8))
    assert list(texts) == ["", ""] and texts[-1] == "" and texts[:1] == [""]
    with pytest.raises(IndexError):
        texts[2]
