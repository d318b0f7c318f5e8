"""The three tables of a training as plain arrays.

Items are numbered by sorted item id, and histories lie end to end in one array, so that a sample is a single number:
the place of its target in that array. A hundred million interactions are 800 MB this way, and a prefix costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import parquet
from components.errors import BadInput
from components.training.job import Job

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, end to end: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: Ints
    values: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> Ints:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @classmethod
    def of(cls, rows: list[Ints]) -> Ragged:
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        values = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        return cls(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), values.astype(np.int64))


@dataclass(frozen=True)
class Dataset:
    """Everything the training may look at."""

    item_ids: tuple[str, ...]
    """Sorted; an item's number is its place here."""
    texts: tuple[str, ...]
    """Item texts, by item number."""
    user_ids: tuple[str, ...]
    histories: Ragged
    """Training history of each user, oldest first, as item numbers."""
    valid_users: tuple[str, ...]
    valid_prompts: Ragged
    """What is known before each validation target: training history + context."""
    valid_targets: Ints

    def with_validation(self) -> Ragged:
        """Histories prolonged by context and validation target (for `refit`); users without one stay as they are."""
        longer = {
            user: np.append(self.valid_prompts.row(index), self.valid_targets[index])
            for index, user in enumerate(self.valid_users)
        }
        rows = [longer.pop(user, self.histories.row(index)) for index, user in enumerate(self.user_ids)]
        return Ragged.of(rows + [longer[user] for user in sorted(longer)])


def load(job: Job) -> Dataset:
    """Read the tables of a job. Raises `BadInput` where a file, column or item is missing."""
    items = _read(job.items_clean, ["item_id", "text"]).sort_by("item_id")
    item_ids = items["item_id"].combine_chunks()
    histories = _read(job.histories, ["user_id", "history"]).sort_by("user_id")
    targets = _read(job.valid_targets, ["user_id", "context", "target"]).sort_by("user_id")
    rows = _numbers(histories["history"], item_ids, job.histories)
    contexts = _numbers(targets["context"], item_ids, job.valid_targets)
    users = histories["user_id"].to_pylist()
    valid_users = targets["user_id"].to_pylist()
    place = {user: index for index, user in enumerate(users)}
    nothing = np.zeros(0, dtype=np.int64)
    known = [rows.row(place[user]) if user in place else nothing for user in valid_users]
    if len(item_ids) == 0 or len(rows.values) == 0:
        raise BadInput(
            "there are no items or no training interactions",
            where=f"{job.items_clean}, {job.histories}",
            mend="look at the report of `clean`: the k-core may have removed everything",
        )
    return Dataset(
        item_ids=tuple(item_ids.to_pylist()),
        texts=tuple(text or "" for text in items["text"].to_pylist()),
        user_ids=tuple(users),
        histories=rows,
        valid_users=tuple(valid_users),
        valid_prompts=Ragged.of([np.append(row, contexts.row(index)) for index, row in enumerate(known)]),
        valid_targets=_lookup(targets["target"].combine_chunks(), item_ids, job.valid_targets),
    )


def starts(histories: Ragged) -> Ints:
    """For every place in `histories.values`: where the history begins that it belongs to."""
    return np.repeat(histories.offsets[:-1], np.diff(histories.offsets))


def _read(path: Path, columns: list[str]) -> pa.Table:
    return parquet.read(path, columns)  # refuses what is missing, broken or of another type


def _numbers(lists: pa.ChunkedArray, item_ids: pa.Array, path: Path) -> Ragged:
    """A list column of item ids -> item numbers."""
    whole = lists.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(whole), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return Ragged(offsets, _lookup(pc.list_flatten(whole), item_ids, path))


def _lookup(names: pa.Array, item_ids: pa.Array, path: Path) -> Ints:
    numbers = pc.index_in(names, value_set=item_ids)
    if numbers.null_count:
        missing = names.filter(pc.is_null(numbers)).slice(0, 3).to_pylist()
        raise BadInput(
            f"{numbers.null_count} interactions are with items that have no text row, such as {missing}",
            where=str(path),
            mend="run `clean` again: it writes items and histories together",
        )
    return numbers.to_numpy(zero_copy_only=False).astype(np.int64)
