"""Voices that were built without the users to whom they speak: what a training may hear of its own histories.

    learned = learned_of(items_clean, histories, drop_repeats=True)
    fold = dealt(len(learned.histories), 4, seed=17, what="distil")         # users -> folds, whatever they took
    voice = build("graph", learned.of_users(np.flatnonzero(fold != 2)))     # for the users of fold 2

A voice that was built from all training histories knows the very next item of each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.errors import BadInput, unknown
from components.recommender.catalogue import Catalogue
from components.sampling import derive
from components.storage import parquet
from components.storage.artifacts import publishing
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import kind_of, names

_DAY = 86_400.0 * 1e6


def check(voice: str, *, where: str, use: str) -> None:
    """Raises `BadInput` for a voice that is none, or has to be trained; `use`: what it is asked to do."""
    if voice not in names():
        raise unknown("voice", voice, names(), where=where)
    if kind_of(voice)[0].LEAST < 0:
        mend = "name one that is built without training, such as graph_text"
        raise BadInput(f"{voice} cannot {use}", where=where, mend=mend)


def published(
    folder: Path, items_clean: Path, histories: Path, made: Callable[[Learned], Any], *, drop_repeats: bool
) -> Path:
    """Publish in `folder`, which is returned, what is `made` of the training histories, by its `save`; what lies there
    already stays."""
    if not folder.is_dir():
        learned = learned_of(items_clean, histories, drop_repeats=drop_repeats)
        with publishing(folder) as temporary:
            made(learned).save(temporary)
    return folder


def dealt(users: int, folds: int, *, seed: int, what: str) -> NDArray[np.int64]:
    """[users] the fold of each, drawn by `seed` and `what` it is for, and not by what a user took."""
    return np.random.default_rng(derive(seed, what)).permutation(users) % folds


def learned_of(items_clean: Path, histories: Path, *, drop_repeats: bool) -> Learned:
    """Items numbered by their rows, and users sorted by id, as a training numbers them."""
    items, taken = parquet.read(items_clean), parquet.read(histories).sort_by("user_id")
    ids = tuple(items["item_id"].to_pylist())
    numbers = {item: number for number, item in enumerate(ids)}
    table = IdTable(ids, ids, tuple((number,) for number in range(len(ids))))
    known = Ragged.of([[numbers[item] for item in history] for history in taken["history"].to_pylist()])
    days = None
    if "timestamps" in taken.column_names:
        lists = taken["timestamps"].combine_chunks()
        flat = lists.flatten().cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        days = np.full(len(known.values), np.nan)  # a user of whom one time is not known has no list
        days[lists.is_valid().to_numpy(zero_copy_only=False)[known.owners]] = flat.to_numpy(zero_copy_only=False) / _DAY
    return Learned(Catalogue(table, drop_repeats=drop_repeats), known, days, items.to_pydict())
