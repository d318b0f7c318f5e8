"""From packed IDs to the arrays of a trie, in memory that is linear and close to the result.

    arrays, vocabulary, levels, end_column = trie_arrays(offsets, values, end_token=1)

IDs are sorted once, by several columns of tokens in one 63-bit key; only rows that tie in it are sorted further. How
many tokens neighbours share then says how many nodes each depth has before any is made, so every array is allocated
once, in int32, and filled depth after depth. Besides the result it needs about 30 bytes an ID; ten million IDs take
a tenth of the time, and a third of the memory, of sorting and joining whole int64 columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.storage.ragged import Ints

WHERE, MEND = "ID table", "run `index` again; its report checks every ID"
MAX_TOKEN = 1 << 24
"""No vocabulary has that many tokens; tables over all token numbers stay below 100 MB."""
NO_ITEM = np.iinfo(np.int32).max
_PIECE_CELLS = 1 << 17
"""Tokens at a time: what is made on the way, often of 64 bits, stays in a core's cache."""

Rows = NDArray[np.int32]


def trie_arrays(offsets: Ints, values: Rows, *, end_token: int) -> tuple[dict[str, Rows], Ints, tuple[int, ...], int]:
    """The int32 arrays of `Trie` by name, its vocabulary, its levels and the place of the end token.

    offsets [items + 1], values: item i has the ID values[offsets[i]:offsets[i + 1]]. Raises `BadInput` for none, an
    empty one, one with the end token or an impossible token, or two that are equal.
    """
    sizes = np.diff(offsets)
    check(sizes, values, end_token)
    vocabulary, place = _vocabulary(values, end_token)
    end_column = int(place[end_token])
    ids = _padded(offsets, values, place, end_column)
    order = sorted_rows(ids, len(vocabulary))
    shared = shared_tokens(ids, order)
    lengths = (sizes + 1).astype(np.int32)
    nodes, levels = _nodes(ids, lengths, order, shared)
    return {**nodes, "ids": ids, "lengths": lengths}, vocabulary, levels, end_column


def check(sizes: Ints, values: Rows, end_token: int) -> None:
    """Raises `BadInput` for no IDs, an empty one or one with a wrong token. `sizes` [items], packed `values`."""
    if len(sizes) == 0:
        raise BadInput("there are no IDs", where=WHERE, mend=MEND)
    if (sizes == 0).any():
        raise BadInput(f"the ID of item number {int(np.argmin(sizes))} is empty", where=WHERE, mend=MEND)
    for wrong, what in ((values == end_token, "the end token"), ((values < 0) | (values >= MAX_TOKEN), "no token")):
        if wrong.any():
            at = int(np.argmax(wrong))
            item = int(np.searchsorted(np.cumsum(sizes), at, side="right"))
            raise BadInput(f"the ID of item number {item} holds {what}: {int(values[at])}", where=WHERE, mend=MEND)


def same_id(item: int) -> BadInput:
    """What to raise for an ID that two items have."""
    return BadInput(f"item number {item} has the same ID as another one", where=WHERE, mend=MEND)


def _vocabulary(values: Rows, end_token: int) -> tuple[Ints, Rows]:
    """The used tokens and the end token, rising, and the place of each by its number."""
    used = np.zeros(max(int(values.max()), end_token) + 1, dtype=bool)
    used[end_token] = True
    for start in range(0, len(values), _PIECE_CELLS):
        used[values[start : start + _PIECE_CELLS]] = True
    return np.flatnonzero(used), np.cumsum(used, dtype=np.int32) - 1


def _padded(offsets: Ints, values: Rows, place: Rows, end_column: int) -> Rows:
    """[items, depth]: each ID as places in the vocabulary, with at least one end token after it."""
    sizes = np.diff(offsets)
    ids = np.full((len(sizes), int(sizes.max()) + 1), end_column, dtype=np.int32)
    places = np.arange(ids.shape[1])
    for here in _pieces(*ids.shape):
        inside = places < sizes[here, None]
        ids[here][inside] = place[values[offsets[here.start] : offsets[here.stop]]]
    return ids


def sorted_rows(ids: Rows, size: int) -> Rows:
    """Item numbers in the order of their rows, first column first; equal rows stand together."""
    bits = max(1, (size - 1).bit_length())
    depth, each = ids.shape[1], max(1, 62 // bits)
    key = _key(ids[:, :each], bits)
    order = key.argsort().astype(np.int32)
    key, start = key[order], each
    open_, group = _tied(key, np.arange(len(order), dtype=np.int32))
    while start < depth and len(open_):
        # The group stands before the tokens in the key, so that rows stay in the places of their group.
        more = max(1, (63 - len(open_).bit_length()) // bits)
        rows = order[open_]
        key = _key(ids[rows, start : start + more], bits) | group << bits * min(more, depth - start)
        by_key = key.argsort()
        order[open_] = rows[by_key]
        open_, group = _tied(key[by_key], open_)
        start += more
    return order


def _key(columns: Rows, bits: int) -> Ints:
    """Columns [rows, n] side by side in one number, the first one highest."""
    key = np.zeros(len(columns), dtype=np.int64)
    for column in range(columns.shape[1]):
        key <<= bits
        key |= columns[:, column]
    return key


def _tied(key: Ints, places: Rows) -> tuple[Rows, Ints]:
    """Of sorted keys those that are not alone: their places, and a rising number for each set of equal ones."""
    same = key[1:] == key[:-1]
    tied = np.zeros(len(key), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    new = np.ones(int(tied.sum()), dtype=np.int64)
    new[1:] = np.diff(key[tied]) != 0
    return places[tied], np.cumsum(new)


def shared_tokens(ids: Rows, order: NDArray[Any]) -> NDArray[Any]:
    """[items]: how many tokens each row of the sorted ones shares with the one before; 0 for the first."""
    shared = np.zeros(len(order), dtype=np.min_scalar_type(ids.shape[1]))
    for here in _pieces(len(order), ids.shape[1]):
        rows = ids[order[max(0, here.start - 1) : here.stop]]
        differs = rows[1:] != rows[:-1]
        if not (some := differs.any(axis=1)).all():
            place = here.stop - len(some) + int(np.argmin(some))
            raise same_id(int(order[place - 1 : place + 1].max()))
        shared[here.stop - len(some) : here.stop] = differs.argmax(axis=1)
    return shared


def _nodes(ids: Rows, lengths: Rows, order: Rows, shared: NDArray[Any]) -> tuple[dict[str, Rows], tuple[int, ...]]:
    """The arrays over the nodes, and `ends`; `order` and `shared` as `sorted_rows` and `shared_tokens` return them.

    A row starts a node at the depths from what it shares up to its length; so the nodes of each depth can be counted
    first, and a piece of rows then writes its nodes of all depths behind those of the pieces before.
    """
    depth = ids.shape[1]
    started = np.cumsum(np.bincount(shared, minlength=depth + 1)) - np.cumsum(np.bincount(lengths, minlength=depth + 1))
    levels = np.array([0, 1, *(1 + np.cumsum(started[:depth]))])
    names = ("columns", "parents", "children", "lowest", "below")
    nodes = {name: np.zeros(levels[-1] + (name == "children"), dtype=np.int32) for name in names}
    nodes["lowest"][1:] = NO_ITEM
    nodes["below"][0], nodes["children"][0], nodes["children"][-1] = len(order), 1, levels[-1]
    ends = np.empty(len(order), dtype=np.int32)
    free = levels[1:-1].astype(np.int32)[:, None]  # [depth, 1]: the next node of each depth
    depths = np.arange(depth)[:, None]
    for here in _pieces(len(order), ids.shape[1]):
        items = order[here]
        alive = depths < lengths[items]
        new = alive & (depths >= shared[here])
        at = np.cumsum(new, axis=1, dtype=np.int32)
        at += free - 1  # [depth, rows]: the node where each row stands
        free = at[:, -1:] + 1
        numbers = at[new]
        nodes["columns"][numbers] = ids[items].T[new]
        nodes["parents"][numbers] = np.concatenate([np.zeros_like(at[:1]), at[:-1]])[new]
        # What the depth below had before this row: the row itself starts the first child.
        nodes["children"][numbers] = np.concatenate([at[1:] + 1 - new[1:], np.full_like(at[:1], levels[-1])])[new]
        _count(nodes, items, alive, new, at)
        ends[items] = at[lengths[items] - 1, np.arange(len(items))]
    return {**nodes, "ends": ends}, tuple(levels.tolist())


def _count(nodes: dict[str, Rows], items: Rows, alive: NDArray[np.bool_], new: NDArray[np.bool_], at: Rows) -> None:
    """Add a piece of rows to `lowest` and `below`: each depth in runs of one node, the first begun by another piece."""
    begins = new.copy()
    begins[:, 0] = True
    starts = np.flatnonzero(begins)
    below = np.add.reduceat(alive.ravel(), starts, dtype=np.int32)
    lowest = np.minimum.reduceat(np.where(alive, items, NO_ITEM).ravel(), starts)
    real = below > 0  # a depth may begin with rows that ended above it
    numbers = at.ravel()[starts[real]]
    nodes["below"][numbers] += below[real]
    nodes["lowest"][numbers] = np.minimum(nodes["lowest"][numbers], lowest[real])


def _pieces(rows: int, depth: int) -> Iterator[slice]:
    """All rows of `depth` tokens, in pieces that stay in a core's cache."""
    size = max(1, _PIECE_CELLS // depth)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
