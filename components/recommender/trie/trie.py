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

from components.errors import BadInput
from components.recommender.trie.arrays import trie_arrays
from components.storage.artifacts import publishing
from components.storage.ragged import Ragged

ROOT = 0
_TABLE = "table_digest"


@dataclass(frozen=True)
class Trie:
    """Int32 arrays: 20 bytes a node, and (8 + 4 x depth) bytes an item; `bytes` adds them up.

    Of IDs of 3 to 10 tokens that share few prefixes, 190 bytes an ID from ten thousand to ten million: linear. Building
    from packed IDs takes some 30 bytes an ID more at its peak. `levels`, on the host, needs no synchronisation.
    """

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
        packed = Ragged.of(token_ids)
        return cls.of(packed.offsets, packed.values, end_token=end_token)

    @classmethod
    def of(cls, offsets: NDArray[np.int64], values: NDArray[np.int32], *, end_token: int) -> Trie:
        """The same from packed IDs: item i is values[offsets[i]:offsets[i + 1]]."""
        arrays, vocabulary, levels, end_column = trie_arrays(offsets, values, end_token=end_token)
        return cls(
            **{name: torch.from_numpy(array) for name, array in arrays.items()},
            vocabulary=torch.from_numpy(vocabulary),
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
