"""The three tables of a training as arrays in files that are mapped into memory, not read.

Items are numbered by their row in items_clean.parquet, and histories lie end to end in one file of 4 bytes an
interaction, so that a sample is a single number: the place of its target there. The first rank packs the tables in one
stream, whatever their size; all ranks map the same files, and a resumed training finds them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.errors import BadInput
from components.sampling import hash_numbers
from components.storage import parquet
from components.storage.ragged import Ints, Ragged, RaggedWriter, Strings, mapped, slices
from components.training.devices.ranks import Ranks, write_once
from components.training.job import NEIGHBOURS, TEACHER, Job
from components.training.packed.joint import JOINED, Shop, own_ids, shops_of

PACKED, TOKENISED = "packed", "tokenised"
"""Folders in the job's work folder: the tables, and the tokens of the item texts (texts.py)."""
_USERS = 65_536
"""Users at a time where one history file is made of another."""


@dataclass(frozen=True)
class Dataset:
    """Everything the training may look at."""

    item_ids: Strings
    """In the order that `clean` drew; an item's number is its place here."""
    texts: Strings
    """Item texts, by item number."""
    users: NDArray[np.uint64]
    """Of each row of `histories`, 64 bits of a hash of the user's id."""
    histories: Ragged
    """Training history of each user, users sorted by id: item numbers (int32), oldest first."""
    valid_users: Strings
    valid_rows: Ints
    """Where the user of each validation target stands in `histories`; -1 for a user without a training history."""
    valid_contexts: Ragged
    """What lies between training history and validation target."""
    valid_targets: NDArray[np.int32]
    shops: tuple[Shop, ...]
    """The catalogues, one or several; items of one stand together."""
    valid_marks: NDArray[np.uint64]
    """Of each validation target, 64 bits of a hash of the user's id."""
    prolonged: Ragged | None
    """For `refit`: histories with context and validation target; users without one stay as they are."""

    def valid_prompt(self, index: int) -> NDArray[np.int32]:
        """What is known before a validation target: training history + context."""
        row = int(self.valid_rows[index])
        history = self.histories.row(row) if row >= 0 else self.histories.values[:0]
        return np.concatenate([history, self.valid_contexts.row(index)])

    def shop_numbers(self, histories: Ragged) -> Ints:
        """[users] which catalogue each history is of, as a place in `shops`; an empty one counts as the first's."""
        found = np.zeros(len(histories), np.int64)
        some = np.flatnonzero(histories.lengths)
        ends = [shop.end for shop in self.shops]
        found[some] = np.searchsorted(ends, histories.values[histories.offsets[some]], side="right")
        return found

    def with_validation(self) -> Ragged:
        """Histories prolonged by context and validation target; those of users without a history come last."""
        assert self.prolonged is not None, "packed for jobs with train.refit alone"
        return self.prolonged


def load(job: Job, ranks: Ranks | None = None) -> Dataset:
    """The tables of a job, packed in its work folder if they are not yet. Called by all ranks.

    Raises `BadInput` where a file, column or item is missing, or a user occurs twice.
    """
    folder = write_once(job.work / PACKED, job.train_key, ranks or Ranks(), lambda folder: _pack(job, folder))
    item_ids = Strings(Ragged.load(folder, "item_ids", np.uint8))
    return Dataset(
        item_ids=item_ids,
        texts=Strings(Ragged.load(folder, "texts", np.uint8)),
        users=mapped(folder / "users", np.uint64),
        histories=Ragged.load(folder, "histories", np.int32),
        valid_users=Strings(Ragged.load(folder, "valid_users", np.uint8)),
        valid_rows=mapped(folder / "valid_rows", np.int64),
        valid_contexts=Ragged.load(folder, "valid_contexts", np.int32),
        valid_targets=mapped(folder / "valid_targets", np.int32),
        shops=shops_of(job, len(item_ids)),
        valid_marks=mapped(folder / "valid_marks", np.uint64),
        prolonged=Ragged.load(folder, "prolonged", np.int32) if job.train.refit else None,
    )


def user_marks(users: Iterable[str]) -> NDArray[np.uint64]:
    """64 bits of a hash of each user id."""
    return np.array(hash_numbers(users, "taught user/"), dtype=np.uint64)


def clear(job: Job) -> None:
    """Remove the files of a training that is over, gigabytes for a large shop; a process that maps them keeps them."""
    for name in (JOINED, PACKED, TOKENISED, TEACHER, NEIGHBOURS):
        shutil.rmtree(job.work / name, ignore_errors=True)


def _pack(job: Job, folder: Path) -> None:
    """Write the files of a job into `folder`."""
    items = parquet.read(job.items_clean, ["item_id", "text"])
    item_ids = _strings(items["item_id"])
    for name, column in (("item_ids", item_ids), ("texts", _strings(items["text"]))):
        with RaggedWriter(folder, name, np.uint8) as writer:
            writer.add(*_bytes(column))
    histories = _rising(job.histories, ["user_id", "history"], folder / "histories.sorted")
    with RaggedWriter(folder, "histories", np.int32) as writer, (folder / "users").open("wb") as stream:
        for batch in parquet.batches(histories, ["user_id", "history"]):
            writer.add(*_numbers(batch["history"], item_ids, job.histories))
            stream.write(user_marks(own_ids(job, batch["user_id"].to_pylist())).astype("<u8").tobytes())
    if not len(item_ids) or not (folder / "histories.values").stat().st_size:
        raise BadInput(
            "there are no items or no training interactions",
            where=f"{job.items_clean}, {job.histories}",
            mend="look at the report of `clean`: the k-core may have removed everything",
        )
    if job.train.family == "encoder-decoder" and int(np.diff(mapped(folder / "histories.offsets", np.int64)).max()) < 2:
        raise BadInput(
            "no training history has two items, so that there is nothing to learn: of three interactions, one is for "
            "validation and one for the test",
            where=str(job.histories),
            mend="give users with more interactions (clean.min_user_interactions: 4), or set train.family to "
            "decoder-only, which learns from single items what anyone takes first",
        )
    targets = _rising(job.valid_targets, ["user_id", "context", "target"], folder / "targets.sorted")
    _pack_targets(job, folder, histories, targets, item_ids)
    if job.train.refit:
        _prolong(folder)
    for path in {histories, targets} - {job.histories, job.valid_targets}:
        path.unlink()


def _pack_targets(job: Job, folder: Path, histories: Path, targets: Path, item_ids: pa.Array) -> None:
    users = (_strings(batch["user_id"]) for batch in parquet.batches(histories, ["user_id"]))
    wanted = (_strings(batch["user_id"]) for batch in parquet.batches(targets, ["user_id"]))
    with (folder / "valid_rows").open("wb") as stream:
        for rows in _rows_of(users, wanted):
            stream.write(rows.astype("<i8").tobytes())
    with (
        RaggedWriter(folder, "valid_users", np.uint8) as names,
        RaggedWriter(folder, "valid_contexts", np.int32) as contexts,
        (folder / "valid_targets").open("wb") as stream,
        (folder / "valid_marks").open("wb") as marks,
    ):
        for batch in parquet.batches(targets, ["user_id", "context", "target"]):
            names.add(*_bytes(_strings(batch["user_id"])))
            marks.write(user_marks(own_ids(job, batch["user_id"].to_pylist())).astype("<u8").tobytes())
            contexts.add(*_numbers(batch["context"], item_ids, job.valid_targets))
            stream.write(_lookup(_strings(batch["target"]), item_ids, job.valid_targets).astype("<i4").tobytes())


def _rows_of(users: Iterator[pa.Array], wanted: Iterator[pa.Array]) -> Iterator[Ints]:
    """For each piece of `wanted` users, where they stand among `users`, -1 where they do not; both rise strictly."""
    row, known = 0, next(users, None)
    for piece in wanted:
        found = np.full(len(piece), -1, dtype=np.int64)
        while known is not None and len(piece):
            at = pc.fill_null(pc.index_in(piece, value_set=known), -1).to_numpy(zero_copy_only=False)
            found = np.where(at >= 0, row + at, found)
            if len(known) and known[-1].as_py() >= piece[-1].as_py():
                break
            row, known = row + len(known), next(users, None)
        yield found


def _prolong(folder: Path) -> None:
    """Histories with context and validation target behind them, `_USERS` at a time."""
    histories, contexts = (Ragged.load(folder, name, np.int32) for name in ("histories", "valid_contexts"))
    rows, targets = mapped(folder / "valid_rows", np.int64), mapped(folder / "valid_targets", np.int32)
    known, unknown = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
    nothing = np.zeros(0, np.int64)
    with RaggedWriter(folder, "prolonged", np.int32) as writer:
        for start in range(0, len(histories), _USERS):
            bounds = histories.offsets[start : start + _USERS + 1]
            first, last = np.searchsorted(rows[known], [start, start + _USERS])
            chosen = known[first:last]
            writer.add(*_joined(bounds, histories.values, rows[chosen] - start, chosen, contexts, targets))
        for start in range(0, len(unknown), _USERS):
            chosen = unknown[start : start + _USERS]
            bounds = np.zeros(len(chosen) + 1, np.int64)
            writer.add(*_joined(bounds, nothing, np.arange(len(chosen)), chosen, contexts, targets))


def _joined(
    bounds: Ints, values: NDArray[Any], at: Ints, chosen: Ints, contexts: Ragged, targets: NDArray[np.int32]
) -> tuple[Ints, NDArray[np.int32]]:
    """Rows values[bounds[i]:bounds[i + 1]], row at[j] prolonged by context and target number chosen[j]."""
    before, between = np.diff(bounds), contexts.lengths_of(chosen)
    lengths = before.copy()
    lengths[at] += between + 1
    starts = np.cumsum(lengths) - lengths
    joined = np.zeros(int(lengths.sum()), np.int32)
    row, column, value = slices(values, bounds[:-1], before)
    joined[starts[row] + column] = value
    row, column, value = contexts.gather(chosen)
    joined[(starts + before)[at][row] + column] = value
    joined[(starts + before)[at] + between] = targets[chosen]
    return lengths, joined


def _rising(path: Path, columns: list[str], aside: Path) -> Path:
    """`path` if its users rise, as `clean` writes them, else a sorted copy at `aside` (sorted in memory)."""
    if _is_rising(path):
        return path
    pq.write_table(parquet.read(path, columns).sort_by("user_id"), aside)
    if not _is_rising(aside):
        raise BadInput("a user occurs twice", where=str(path), mend="run `clean` again: it writes one row a user")
    return aside


def _is_rising(path: Path) -> bool:
    last = None
    for batch in parquet.batches(path, ["user_id"]):
        users = _strings(batch["user_id"])
        if last is not None and len(users) and last >= users[0].as_py():
            return False
        if not pc.all(pc.greater(users[1:], users[:-1]), min_count=0).as_py():
            return False
        last = users[-1].as_py() if len(users) else last
    return True


def _strings(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """As one array of one type; a missing text is an empty one."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.fill_null(whole.cast(pa.large_string()), "")


def _bytes(strings: pa.Array) -> tuple[Ints, NDArray[np.uint8]]:
    """Lengths and UTF-8 bytes of a `large_string` array."""
    _, offsets, data = strings.buffers()
    bounds = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    if data is None or not len(bounds):
        return np.zeros(len(strings), np.int64), np.zeros(0, np.uint8)
    return np.diff(bounds), np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]


def _numbers(lists: pa.Array, item_ids: pa.Array, path: Path) -> tuple[Ints, NDArray[np.int32]]:
    """A list column of item ids -> lengths and item numbers."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64), _lookup(pc.list_flatten(lists).cast(pa.large_string()), item_ids, path)


def _lookup(names: pa.Array, item_ids: pa.Array, path: Path) -> NDArray[np.int32]:
    numbers = pc.index_in(names, value_set=item_ids)
    if numbers.null_count:
        missing = names.filter(pc.is_null(numbers)).slice(0, 3).to_pylist()
        raise BadInput(
            f"{numbers.null_count} interactions are with items that have no text row, such as {missing}",
            where=str(path),
            mend="run `clean` again: it writes items and histories together",
        )
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.int32)
