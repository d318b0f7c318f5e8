"""A compact trie over the token ids of all IDs, as flat arrays: what may be written next, so that only items come out.

    trie = Trie.build(table.token_ids, end_token=1)      # a million IDs in seconds
    trie = trie.to("cuda")

Nodes are numbered breadth first and, below one parent, by token; so the children of node v are the nodes
`children[v] .. children[v + 1] - 1`, and a node stands for the edge that leads to it. The end token is an edge like any
other: an ID that is a prefix of another is legal. Items are numbered by their place in the sequence that was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.artifacts import publishing
from components.errors import BadInput
from components.recommender.batches import pack, slices

ROOT = 0
WHERE, MEND = "ID table", "run `index` again; its report checks every ID"
_TABLE = "table_digest"


@dataclass(frozen=True)
class Trie:
    """Int32 arrays, 24 bytes a node and 4 bytes an item and token. `levels`, on the host, needs no synchronisation."""

    columns: Tensor
    """[nodes]: which token leads to the node, as a place in `vocabulary` (root: 0, meaningless)."""
    children: Tensor
    """[nodes + 1]: first child of each node; one that ends an ID has none."""
    parents: Tensor
    """[nodes]: the root is its own."""
    lowest: Tensor
    """[nodes]: smallest item number below the node; of the end of an ID: its item."""
    below: Tensor
    """[nodes]: items below the node."""
    ends: Tensor
    """[items]: the node at the end of each item's ID, its end token consumed."""
    vocabulary: Tensor
    """[used tokens] int64, rising: the tokens that IDs use and the end token."""
    ids: Tensor
    """[items, depth]: each ID with its end token, padded with it, as places in `vocabulary`."""
    lengths: Tensor
    """[items]: tokens of each ID, end token included."""
    levels: tuple[int, ...]
    """First node of each depth, and the number of nodes: depth d is the nodes levels[d] .. levels[d + 1] - 1."""
    end_column: int
    """Place of the end token in `vocabulary`."""

    @classmethod
    def build(cls, token_ids: Sequence[Sequence[int]], *, end_token: int) -> Trie:
        """From the ID of each item, without end tokens. Raises `BadInput` for none, an empty or an equal one."""
        offsets, values = pack(token_ids)
        return cls.of(offsets, values, end_token=end_token)

    @classmethod
    def of(cls, offsets: NDArray[np.int64], values: NDArray[np.int32], *, end_token: int) -> Trie:
        """The same from packed IDs: item i is values[offsets[i]:offsets[i + 1]]."""
        sizes = np.diff(offsets)
        check(sizes, values, end_token)
        vocabulary = np.union1d(values, [end_token]).astype(np.int64)
        end_column = int(np.searchsorted(vocabulary, end_token))
        ids = np.full((len(sizes), int(sizes.max()) + 1), end_column, dtype=np.int32)
        rows, places, tokens = slices(values, offsets[:-1], sizes)
        ids[rows, places] = np.searchsorted(vocabulary, tokens)
        order = _sorted_rows(ids, len(vocabulary))
        arrays, levels = _nodes(ids[order], sizes[order] + 1, order)
        return cls(
            **{name: torch.from_numpy(array.astype(np.int32)) for name, array in arrays.items()},
            vocabulary=torch.from_numpy(vocabulary),
            ids=torch.from_numpy(ids),
            lengths=torch.from_numpy((sizes + 1).astype(np.int32)),
            levels=levels,
            end_column=end_column,
        )

    @property
    def depth(self) -> int:
        """Tokens of the longest ID, end token included."""
        return len(self.levels) - 2

    @property
    def items(self) -> int:
        return len(self.lengths)

    @property
    def nodes(self) -> int:
        return self.levels[-1]

    @cached_property
    def host(self) -> dict[str, NDArray[np.int32]]:
        """The arrays that excluding items needs, on the host: copied from a GPU once, not once a batch."""
        return {name: getattr(self, name).cpu().numpy() for name in ("below", "parents", "ends", "lengths")}

    @property
    def bytes(self) -> int:
        """Memory of all arrays."""
        return sum(array.numel() * array.element_size() for array in self._arrays().values())

    def to(self, device: torch.device | str) -> Trie:
        moved: dict[str, Any] = {name: array.to(device) for name, array in self._arrays().items()}
        return replace(self, **moved)

    def save(self, path: Path, *, table_digest: str = "") -> None:
        """Write all arrays as safetensors, atomically, beside the ID table of that digest (`IdTable.digest`)."""
        from safetensors.torch import save_file

        host = torch.tensor([self.end_column, *self.levels], dtype=torch.int64)
        arrays = {**{name: array.cpu().contiguous() for name, array in self._arrays().items()}, "host": host}
        with publishing(path) as temporary:
            save_file(arrays, temporary, metadata={_TABLE: table_digest})

    @classmethod
    def load(cls, path: Path, *, table_digest: str = "") -> Trie:
        """Read what `save` wrote. Raises `BadInput` if it is missing, broken, or of another ID table."""
        from safetensors import SafetensorError, safe_open

        mend = "build it again: Trie.build(table.token_ids, end_token=...)"
        try:
            with safe_open(path, framework="pt") as file:
                found = (file.metadata() or {}).get(_TABLE, "")
                if found != table_digest:
                    raise BadInput(
                        f"the trie is of the ID table {found}, not {table_digest}", where=str(path), mend=mend
                    )
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            end_column, *levels = arrays.pop("host").tolist()
            return cls(**arrays, levels=tuple(levels), end_column=end_column)
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise BadInput(f"not a trie: {error}", where=str(path), mend=mend) from error

    def _arrays(self) -> dict[str, Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def check(sizes: NDArray[np.int64], values: NDArray[np.int32], end_token: int) -> None:
    """Raises `BadInput` for no IDs, an empty one or one that holds the end token. `sizes` [items], packed `values`."""
    if len(sizes) == 0:
        raise BadInput("there are no IDs", where=WHERE, mend=MEND)
    if (sizes == 0).any():
        raise BadInput(f"the ID of item number {int(np.argmin(sizes))} is empty", where=WHERE, mend=MEND)
    if (values == end_token).any():
        item = int(np.searchsorted(np.cumsum(sizes), int(np.argmax(values == end_token)), side="right"))
        raise BadInput(f"the ID of item number {item} holds the end token", where=WHERE, mend=MEND)


def same_id(item: int) -> BadInput:
    """What to raise for an ID that two items have."""
    return BadInput(f"item number {item} has the same ID as another one", where=WHERE, mend=MEND)


def _sorted_rows(ids: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Order of the rows, first column first. Columns share 63-bit keys: lexsort's cost is the number of its keys."""
    bits = max(1, (size - 1).bit_length())
    each = 63 // bits
    keys = []
    for start in range(0, ids.shape[1], each):
        key = np.zeros(len(ids), dtype=np.int64)
        for column in range(start, min(start + each, ids.shape[1])):
            key = (key << bits) | ids[:, column]
        keys.append(key)
    return np.lexsort(keys[::-1])


def _nodes(
    ids: NDArray[np.int32], lengths: NDArray[np.int64], items: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.int64]], tuple[int, ...]]:
    """The arrays of the trie, level by level, from sorted rows; `items` [rows] are their item numbers."""
    parts: dict[str, list[NDArray[np.int64]]] = {
        "columns": [np.zeros(1, np.int64)],
        "parents": [np.zeros(1, np.int64)],
        "lowest": [np.zeros(1, np.int64)],
        "below": [np.array([len(ids)])],
    }
    ends = np.empty(len(ids), dtype=np.int64)
    levels, rows = [0, 1], np.arange(len(ids))
    parent = np.zeros(len(ids), dtype=np.int64)
    for depth in range(ids.shape[1]):
        column = ids[rows, depth]
        # Rows are sorted, so a node is a run of rows with one parent and one token.
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (parent[1:] != parent[:-1]) | (column[1:] != column[:-1])
        first = np.flatnonzero(new)
        parts["columns"].append(column[first])
        parts["parents"].append(parent[first])
        parts["lowest"].append(np.minimum.reduceat(items[rows], first))
        parts["below"].append(np.diff(first, append=len(rows)))
        parent = levels[-1] + np.cumsum(new) - 1
        levels.append(levels[-1] + len(first))
        done = lengths[rows] == depth + 1
        ends[items[rows[done]]] = parent[done]
        if (twice := parts["below"][-1][parent[done] - levels[-2]] > 1).any():
            item = int(items[rows[done]][int(np.argmax(twice))])
            raise same_id(item)
        rows, parent = rows[~done], parent[~done]
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    counts = np.bincount(arrays["parents"][1:], minlength=levels[-1])
    arrays["children"] = np.concatenate([np.ones(1, np.int64), 1 + np.cumsum(counts)])
    return {**arrays, "ends": ends}, tuple(levels)
