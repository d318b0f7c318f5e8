"""What a training has taught, kept beside its pair, so that a later training knows what is new: a small table.

    table = taught(data, data.shops[0], refit=False)         # of the pair that is published
    known = Known.of(table, data.users, data.histories, item_marks(data.item_ids))
    known.items[row], known.counts                           # how many items of a history are known; users by reason

A row says of a user (64 bits of a hash of the id) that the first `items` items of the history were taught, and which
they were (64 bits of a hash of their ids in order). An event that arrives late and belongs further back changes what
stands before it: such a history is new from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.sampling import hash_numbers
from components.storage import parquet
from components.storage.ragged import Ints, Ragged
from components.training.packed.dataset import Dataset
from components.training.packed.joint import Shop

TAUGHT = "taught.parquet"
"""In a pair and a bundle; pairs from before there was one have none."""
Marks = NDArray[np.uint64]
_SCHEMA = pa.schema([("user", pa.uint64()), ("items", pa.int32()), ("prefix", pa.uint64())])
_USERS = 65_536
"""Users at a time."""
_NONE = np.zeros(0, np.uint64)
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Known:
    """How much of each history a pair was taught."""

    items: Ints
    """[users]: so many items of the history, from the oldest on."""
    beyond: NDArray[np.bool_]
    """[users]: the pair was taught more items of this user than the history has, so perhaps its validation target."""
    counts: dict[str, int]
    """Users by reason: `new`, `grown`, `unchanged`, `changed` (other items than those taught, or in another order),
    `shorter` (fewer items than were taught), `less` (the same but for one item that the catalogue has no more), and
    `gone`, of the table, who have no history here."""
    untold: int = 0
    """Of `shorter`, users of whom nothing says that what they lack was deleted. Marks can tell it of those who lack one
    item alone; of those who lack several, as large a share is taken to lack deleted ones."""

    @classmethod
    def of(cls, table: pa.Table, users: Marks, histories: Ragged, items: Marks, deleted: Marks = _NONE) -> Known:
        """users [rows of `histories`], items [catalogue], deleted (items that the pair knows and the catalogue has no
        more): marks of their ids."""
        lengths = histories.lengths
        order = np.argsort(users, kind="stable")
        marks, taught, prefixes = (table[name].to_numpy() for name in _SCHEMA.names)
        place = np.minimum(np.searchsorted(users, marks, sorter=order), max(len(users) - 1, 0))
        row = order[place] if len(users) else place
        here = users[row] == marks if len(users) else np.zeros(len(marks), bool)
        row, taught, prefixes = row[here], taught[here].astype(np.int64), prefixes[here]
        fits = taught <= lengths[row]
        same = fits & (prefixes_of(histories, items, row, np.minimum(taught, lengths[row])) == prefixes)
        known = np.zeros(len(users), np.int64)
        np.maximum.at(known, row[same], taught[same])
        beyond, listed, fitting = (np.zeros(len(users), bool) for _ in range(3))
        beyond[row[~fits]], listed[row], fitting[row[fits]] = True, True, True
        shorter = listed & (known == 0) & (lengths > 0) & ~fitting
        one, less = (np.zeros(len(users), bool) for _ in range(2))
        lacking = np.flatnonzero(shorter[row] & (taught == lengths[row] + 1))
        one[row[lacking]] = True
        less[row[lacking]] = _lack_a(deleted, histories, items, row[lacking], prefixes[lacking])
        left = int((shorter & ~less).sum())
        found = {
            "new": ~listed,
            "grown": (known > 0) & (known < lengths),
            "unchanged": listed & (known == lengths),
            "changed": listed & (known == 0) & (lengths > 0) & fitting,
            "shorter": shorter & ~less,
            "less": less,
        }
        counts = {reason: int(mask.sum()) for reason, mask in found.items()}
        counts["gone"] = len(np.unique(marks)) - len(np.unique(marks[here]))
        several = int((shorter & ~one).sum())
        return cls(known, beyond, counts, untold=left - several * int(less.sum()) // max(1, int(one.sum())))

    @classmethod
    def nothing(cls, histories: Ragged) -> Known:
        """Of a pair that does not say what it was taught."""
        users = len(histories)
        return cls(np.zeros(users, np.int64), np.zeros(users, bool), {"new": users})


def taught(data: Dataset, shop: Shop, *, refit: bool) -> pa.Table:
    """What a training on `data` taught of one catalogue: a row a user, and one more for each whose validation item was
    taught too."""
    marks = np.zeros(len(data.item_ids), np.uint64)
    marks[shop.items] = item_marks(shop.own(data.item_ids[shop.items]))
    number = data.shops.index(shop)
    parts = [_rows(data.users, data.histories, marks, np.flatnonzero(data.shop_numbers(data.histories) == number))]
    if refit:
        longer = data.with_validation()
        before = np.zeros(len(longer), np.int64)
        before[: len(data.histories)] = data.histories.lengths
        grown = (longer.lengths > before) & (data.shop_numbers(longer) == number)
        parts.append(_rows(prolonged_users(data), longer, marks, np.flatnonzero(grown)))
    # By hash: not in the order of the user ids.
    return pa.concat_tables(parts).sort_by([("user", "ascending"), ("items", "ascending")])


def still_here(table: pa.Table, data: Dataset) -> pa.Table:
    """The rows of an earlier table whose users have a history or a validation target in `data`."""
    here = np.isin(table["user"].to_numpy(), np.concatenate([data.users, data.valid_marks]))
    return table.filter(pa.array(here))


def _rows(users: Marks, histories: Ragged, items: Marks, which: Ints) -> pa.Table:
    """The rows that say that the histories `which` were taught."""
    lengths = histories.lengths_of(which)
    columns = (users[which], lengths.astype(np.int32), prefixes_of(histories, items, which, lengths))
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=_SCHEMA)


def prolonged_users(data: Dataset) -> Marks:
    """Marks of the users of `Dataset.with_validation`: those with a history, then those without one."""
    return np.concatenate([data.users, data.valid_marks[np.flatnonzero(data.valid_rows < 0)]])


def save(table: pa.Table, pair: Path) -> None:
    """Into the folder of a pair that is being written."""
    pq.write_table(table, pair / TAUGHT, compression="zstd")


def read(pair: Path) -> pa.Table | None:
    """What `save` wrote, None where there is nothing. Raises `BadInput` for a damaged file."""
    return parquet.read(pair / TAUGHT, _SCHEMA.names) if (pair / TAUGHT).is_file() else None


def item_marks(item_ids: Iterable[str]) -> Marks:
    """[items]: 64 bits of a hash of each item id."""
    return np.array(hash_numbers(item_ids, "taught item/"), dtype=np.uint64)


def prefixes_of(histories: Ragged, items: Marks, rows: Ints, lengths: Ints) -> Marks:
    """[n]: the mark of the first lengths[i] items of history rows[i], in order; 0 where there are none.

    A sum over the items of a mix of item and place, modulo 2^64: the marks of all beginnings of a history are the
    partial sums of one pass over it.
    """
    found = np.zeros(len(rows), np.uint64)
    for start in range(0, len(histories), _USERS):
        asked = np.flatnonzero((rows >= start) & (rows < start + _USERS))
        some = histories.between(start, min(start + _USERS, len(histories)))
        place = np.arange(len(some.values), dtype=np.int64) - np.repeat(some.offsets[:-1], some.lengths)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(items[some.values], place), dtype=np.uint64)])
        begin = some.offsets[rows[asked] - start]
        found[asked] = sums[begin + lengths[asked]] - sums[begin]
    return found


def _lack_a(deleted: Marks, histories: Ragged, items: Marks, rows: Ints, prefixes: Marks) -> NDArray[np.bool_]:
    """[n]: whether history rows[i] has the mark prefixes[i] with one of the `deleted` items put in somewhere."""
    found = np.zeros(len(rows), bool)
    if not len(deleted):
        return found
    places = np.arange(int(histories.lengths_of(rows).max(initial=0)) + 1)
    put_in = _mixed(deleted[:, None], places)
    for at, row in enumerate(rows):
        marks = items[histories.row(int(row))]
        here = places[: len(marks)]
        before = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(marks, here), dtype=np.uint64)])
        moved = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(marks, here + 1), dtype=np.uint64)])
        rest = prefixes[at] - before - (moved[-1] - moved)
        found[at] = bool((put_in[:, : len(rest)] == rest).any())
    return found


def _mixed(marks: Marks, places: Ints) -> Marks:
    """The finaliser of SplitMix64 over the mark of an item and its place."""
    words = marks + (places.astype(np.uint64) + np.uint64(1)) * _ODD
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Marks = words ^ (words >> np.uint64(31))
    return mixed
