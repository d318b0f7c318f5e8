"""Several catalogues as one: their tables end to end, with the catalogue's name before every user and item id.

    job = joined(job, ranks)                 # a job over the tables of all; the same one where there is one catalogue
    shops = shops_of(job, items)             # which items are whose, how often each is drawn

A product or a person with one id in two catalogues stays two: nothing says that the ids mean the same. How many there
are is counted. IDs are unique over all catalogues; which of them may be recommended, the trie of each says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.storage import parquet
from components.storage.artifacts import publish_json, read_json
from components.storage.job import from_json
from components.textid.table.id_table import IdTable
from components.training.devices.ranks import Ranks, write_once
from components.training.job import Job, Taught

JOINED = "joined"
"""Folder in the job's work folder."""
_BETWEEN = "/"
_SHOPS = "shops.json"
_WORDS = ("title", "text")
_PLACE = ("name", "first", "end")
_COLUMNS = {
    "items_clean": ["item_id", "text"],
    "histories": ["user_id", "history"],
    "valid_targets": ["user_id", "context", "target"],
}


@dataclass(frozen=True)
class Shop:
    """One catalogue of a training: its items are those numbered `first` to `end`, not included."""

    name: str
    first: int
    end: int
    weight: float = 1.0
    drop_repeats: bool = True
    users: int = 0
    interactions: int = 0
    items_elsewhere: int = 0
    """Item ids that another catalogue has too."""
    users_elsewhere: int = 0

    @property
    def items(self) -> slice:
        return slice(self.first, self.end)

    def own(self, ids: Iterable[str]) -> list[str]:
        """Ids as the catalogue writes them."""
        return [name.removeprefix(self.name + _BETWEEN) for name in ids] if self.name else list(ids)

    def table(self, of_all: IdTable) -> IdTable:
        """Its rows of the ID table of all, with ids as it writes them."""
        item_ids, words, tokens = (getattr(of_all, name)[self.items] for name in ("item_ids", "words", "token_ids"))
        return IdTable(tuple(self.own(item_ids)), words, tokens)

    def valid(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Its own figures among those of a validation on several catalogues."""
        own = f"_{self.name}"
        return {name.removesuffix(own): value for name, value in metrics.items() if name.endswith(f"_at_10{own}")}

    def said(self) -> dict[str, Any]:
        """What the pair says of it."""
        facts = asdict(self)
        return {"items": self.end - self.first, **{name: facts[name] for name in facts if name not in _PLACE}}


def joined(job: Job, ranks: Ranks) -> Job:
    """The job over the tables of all its catalogues, which the first rank writes in the work folder."""
    if not job.further:
        return job
    folder = write_once(job.work / JOINED, job.train_key, ranks, lambda folder: _write(job, folder))
    items_clean, histories, valid_targets = (folder / f"{name}.parquet" for name in _COLUMNS)
    return replace(job, items_clean=items_clean, histories=histories, valid_targets=valid_targets)


def shops_of(job: Job, items: int) -> tuple[Shop, ...]:
    """The catalogues of a job that `joined` returned; `items`: how many there are in all."""
    if not job.further:
        return (Shop("", 0, items, drop_repeats=job.drop_repeats),)
    return tuple(from_json(Shop, each) for each in read_json(job.items_clean.parent / _SHOPS))


def _write(job: Job, folder: Path) -> None:
    first = Taught(job.dataset, job.items_clean, job.histories, job.valid_targets, drop_repeats=job.drop_repeats)
    taught = [first, *(Taught.read(Path(each)) for each in job.further)]
    wanted = {**_COLUMNS, "items_clean": [*_COLUMNS["items_clean"], *(["title"] if job.train.ids == "titles" else [])]}
    tables = {name: [parquet.read(getattr(each, name), columns) for each in taught] for name, columns in wanted.items()}
    items = _elsewhere([table["item_id"].to_pylist() for table in tables["items_clean"]])
    users = _elsewhere([table["user_id"].to_pylist() for table in tables["histories"]])
    shops, end = list[Shop](), 0
    for at, each in enumerate(taught):
        histories = tables["histories"][at]
        counts = {
            "users": len(histories),
            "interactions": pc.sum(pc.list_value_length(histories["history"])).as_py() or 0,
            "items_elsewhere": items[at],
            "users_elsewhere": users[at],
        }
        first_item, end = end, end + len(tables["items_clean"][at])
        shops.append(Shop(each.name, first_item, end, each.weight, each.drop_repeats, **counts))
    for name, of_all in tables.items():
        named = [_named(table, each.name) for table, each in zip(of_all, taught, strict=True)]
        pq.write_table(pa.concat_tables(named), folder / f"{name}.parquet")
    publish_json(folder / _SHOPS, [asdict(shop) for shop in shops])


def _elsewhere(ids: Sequence[Sequence[str]]) -> list[int]:
    """Of each catalogue: how many of its ids another one has too."""
    held = Counter(name for own in ids for name in set(own))
    return [sum(held[name] > 1 for name in own) for own in ids]


def _named(table: pa.Table, catalogue: str) -> pa.Table:
    """A table with the catalogue's name before its ids, alone and in lists."""
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name in _WORDS:
            columns[name] = column.cast(pa.large_string())
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = _prefixed(column, catalogue)
        else:
            lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
            columns[name] = pa.LargeListArray.from_arrays(offsets, _prefixed(pc.list_flatten(column), catalogue))
    return pa.table(columns)


def _prefixed(ids: pa.Array, catalogue: str) -> pa.Array:
    return pc.binary_join_element_wise(
        pa.scalar(catalogue, pa.large_string()), ids.cast(pa.large_string()), pa.scalar(_BETWEEN, pa.large_string())
    )


def own_ids(job: Job, ids: Iterable[str]) -> Iterable[str]:
    """Ids of a job's tables as their catalogues write them."""
    return (name.partition(_BETWEEN)[2] for name in ids) if job.further else ids
