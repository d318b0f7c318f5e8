"""The vectors of item views on disk: numpy arrays in a folder, without pickles.

save(folder, item_ids, {"poster": dense, "relations": Edges(...)})
views = load(folder, catalogue_ids)                        # rows in the order of these ids

items.parquet  views.json  NAME.npy                        # [items, numbers] float32, length 1, or 0: it has none
NAME.indptr.npy  NAME.indices.npy  NAME.data.npy  NAME.kinds.npy      # sparse: rows of items, columns of tails
NAME.basis.safetensors                                     # what made a dense view of raw vectors (views/reduce.py)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.errors import BadInput
from components.storage import parquet
from components.storage.artifacts import publish_json, read_json

ITEMS, VIEWS, BASIS = "items.parquet", "views.json", ".basis.safetensors"
_PARTS = ("indptr", "indices", "data", "kinds")
_MEND = "run the stage that writes it: dvc repro views"


@dataclass(frozen=True)
class Edges:
    """A sparse view: items, and their tails or labels, in the arrays of a CSR matrix [items, tails]."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    data: NDArray[np.float32]
    """Weights; those of an item have the length 1."""
    kinds: NDArray[np.int32]
    """[tails] of which relation a tail is, as a place in `names`."""
    names: tuple[str, ...]
    """Relations."""

    @property
    def items(self) -> int:
        return len(self.indptr) - 1

    def of(self, rows: NDArray[np.int64]) -> Edges:
        """These rows alone, in this order; -1 is an item without any."""
        lengths = np.where(rows >= 0, np.diff(self.indptr)[rows], 0)
        starts = self.indptr[:-1][rows]
        places = np.repeat(starts, lengths) + _within(lengths)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Edges(indptr, self.indices[places], self.data[places], self.kinds, self.names)


Vectors = NDArray[np.float32] | Edges


def save(folder: Path, item_ids: Sequence[str], views: Mapping[str, Vectors]) -> None:
    """Write into a new folder."""
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"item_id": pa.array(item_ids, pa.string())}), folder / ITEMS, compression="zstd")
    facts: dict[str, Any] = {}
    for name, view in views.items():
        if isinstance(view, Edges):
            facts[name] = {"kind": "edges", "relations": list(view.names)}
            for part in _PARTS:
                np.save(folder / f"{name}.{part}.npy", getattr(view, part))
        else:
            facts[name] = {"kind": "dense"}
            np.save(folder / f"{name}.npy", np.ascontiguousarray(view, np.float32))
    publish_json(folder / VIEWS, facts)


def load(folder: Path, item_ids: Sequence[str]) -> dict[str, Vectors]:
    """Every view with a row for each of `item_ids`: 0 where it has none, or was not there when views were made.

    Raises `BadInput` for a folder that is missing or damaged.
    """
    facts = read_json(folder / VIEWS)
    if facts == {}:
        return {}
    own = parquet.read(folder / ITEMS, ["item_id"])["item_id"].to_pylist()
    place = {item_id: row for row, item_id in enumerate(own)}
    rows = np.array([place.get(item_id, -1) for item_id in item_ids], np.int64)
    found: dict[str, Vectors] = {}
    try:
        for name, about in facts.items():
            if about["kind"] == "edges":
                parts = [np.load(folder / f"{name}.{part}.npy", allow_pickle=False) for part in _PARTS]
                found[name] = Edges(parts[0], parts[1], parts[2], parts[3], tuple(about["relations"])).of(rows)
            else:
                dense = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                found[name] = np.where((rows >= 0)[:, None], dense[rows], np.float32(0))
    except (OSError, ValueError, KeyError, IndexError, TypeError, json.JSONDecodeError) as error:
        raise BadInput(f"not readable as vectors of views: {error}", where=str(folder), mend=_MEND) from error
    return found


def exchanged(present: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """[items] of whom each item takes its view: those that are `present` change places in one drawn cycle, so that none
    keeps its own; the others stay."""
    rows, having = np.arange(len(present)), np.flatnonzero(present)
    order = having[np.random.default_rng(seed).permutation(len(having))]
    rows[order] = np.roll(order, 1)
    return rows


def has(view: Vectors) -> NDArray[np.bool_]:
    """[items] whether an item has something of a view."""
    return np.diff(view.indptr) > 0 if isinstance(view, Edges) else np.asarray(view.any(axis=1))


def _within(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... within each of some rows end to end."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
