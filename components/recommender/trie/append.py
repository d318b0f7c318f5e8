"""Add items to a trie without building it again; for a server that takes in new items, which no command does yet.

    longer = append(trie, token_ids)                            # numbered after all others
    longer = append(trie, token_ids, numbers=[0, 7, 7_000])     # the places of the new items in the longer table

Nodes are numbered breadth first, and those of one depth by (parent, token): so the new IDs are walked down the old trie
to find before which old node each new node belongs, and then both are merged in a few passes. No old ID is sorted or
walked again. What comes out is equal, array by array, to the trie that is built of all IDs.

The engine, which is loaded anew with every table, builds its trie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.errors import BadInput
from components.recommender.trie.arrays import MEND, WHERE, Ints, Rows, check, same_id, shared_tokens, sorted_rows
from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged


def append(trie: Trie, token_ids: Sequence[Sequence[int]], *, numbers: Sequence[int] | None = None) -> Trie:
    """A trie with the IDs `token_ids` (without end tokens) besides those of `trie`, on the CPU.

    numbers: the item number of each new ID in the longer table; the old items keep their order around them (default:
    after all others). Raises `BadInput` for an ID that is empty, or that another item has.
    """
    added = Ragged.of(token_ids)
    sizes, values = added.lengths, added.values
    check(sizes, values, int(trie.vocabulary[trie.end_column]))
    is_new = _places(trie.items, len(sizes), numbers)
    mine = np.arange(trie.items, len(is_new)) if numbers is None else np.asarray(numbers, dtype=np.int64)
    names = ("columns", "parents", "children", "lowest", "below", "ends")
    old = {name: getattr(trie, name).cpu().numpy() for name in names}

    known = trie.vocabulary.cpu().numpy()
    vocabulary = np.union1d(known, values).astype(np.int64)
    place = np.searchsorted(vocabulary, known).astype(np.int32)  # rising: the order of tokens does not change
    end_column = int(place[trie.end_column])
    ids = np.full((len(is_new), max(trie.depth, int(sizes.max()) + 1)), end_column, dtype=np.int32)
    old_ids = trie.ids.cpu().numpy()
    if len(known) < len(vocabulary):  # new tokens came in between
        old_ids, old["columns"] = place[old_ids], place[old["columns"]]
    ids[~is_new, : trie.depth] = old_ids
    rows, columns, tokens = added.gather(np.arange(len(added)))
    ids[mine[rows], columns] = np.searchsorted(vocabulary, tokens)
    lengths = np.empty(len(is_new), dtype=np.int32)
    lengths[~is_new], lengths[mine] = trie.lengths.cpu().numpy(), sizes + 1

    order = mine[sorted_rows(ids[mine], len(vocabulary))]
    walk = _walk(old, ids, lengths, order, shared_tokens(ids, order))
    arrays = _merge(old, walk, order, np.flatnonzero(~is_new))
    return Trie(
        **{name: torch.from_numpy(array) for name, array in {**arrays, "ids": ids, "lengths": lengths}.items()},
        vocabulary=torch.from_numpy(vocabulary),
        levels=_levels(trie.levels, walk.per_depth),
        end_column=end_column,
    )


def _places(items: int, more: int, numbers: Sequence[int] | None) -> NDArray[np.bool_]:
    """Which places of the longer table, [items + more], the new items take."""
    places = np.arange(items, items + more) if numbers is None else np.asarray(numbers, dtype=np.int64)
    is_new = np.zeros(items + more, dtype=bool)
    is_new[places[(places >= 0) & (places < len(is_new))]] = True
    if is_new.sum() != more:
        raise BadInput("the numbers of the new items are not different places", where=WHERE, mend=MEND)
    return is_new


@dataclass(frozen=True)
class _Walk:
    """Where the new IDs go. A node is the number of an old one, or -1 - f for fresh node f, numbered in order."""

    before: Ints
    """[fresh]: the old node before which each one belongs."""
    columns: Rows
    """[fresh]"""
    parents: Ints
    """[fresh]: old or fresh."""
    steps: list[tuple[Ints, Ints]]
    """Of each depth: rows of the new IDs that reach it, and their nodes."""
    per_depth: list[int]
    """Fresh nodes of each depth."""


def _walk(old: dict[str, Rows], ids: Rows, lengths: Rows, order: Ints, shared: NDArray[Any]) -> _Walk:
    """Walk the new IDs, ids[order], down the old trie and on. Raises `BadInput` for an ID that is there already."""
    columns, children = old["columns"], old["children"]
    before, fresh_columns, parents, steps = list[Ints](), list[Rows](), list[Ints](), list[tuple[Ints, Ints]]()
    fresh, rows = 0, np.arange(len(order))
    at, following = np.zeros(len(order), dtype=np.int64), np.zeros(len(order), dtype=np.int64)
    for depth in range(int(lengths[order].max())):
        on = lengths[order[rows]] > depth
        rows, at, following = rows[on], at[on], following[on]
        wanted = ids[order[rows], depth]
        # A fresh node has no old children; those of the old node that follows it tell where its own belong.
        inside = at >= 0
        first = children[np.where(inside, at, following)].astype(np.int64)
        last = np.where(inside, children[np.maximum(at, 0) + 1], first)
        following = _lower_bound(columns, wanted, first, last)
        found = following < last
        found[found] = columns[following[found]] == wanted[found]
        if (twice := found & (lengths[order[rows]] == depth + 1)).any():
            raise same_id(int(order[rows[int(np.argmax(twice))]]))
        begins = ~found & (shared[rows] <= depth)
        before.append(following[begins])
        fresh_columns.append(wanted[begins])
        parents.append(at[begins])
        at = np.where(found, following, -fresh - np.cumsum(begins))
        fresh += int(begins.sum())
        steps.append((rows, at))
    per_depth = [len(each) for each in before]
    return _Walk(np.concatenate(before), np.concatenate(fresh_columns), np.concatenate(parents), steps, per_depth)


def _lower_bound(columns: Rows, wanted: Rows, low: Ints, high: Ints) -> Ints:
    """First place in columns[low:high], which rises, that is not below `wanted`; for each row by itself."""
    while (low < high).any():
        middle = (low + high) // 2
        below = (low < high) & (columns[np.minimum(middle, len(columns) - 1)] < wanted)
        low, high = np.where(below, middle + 1, low), np.where(below, high, np.minimum(middle, high))
    return low


def _merge(old: dict[str, Rows], walk: _Walk, order: Ints, old_numbers: Ints) -> dict[str, Rows]:
    """The arrays over the nodes, and `ends`; `order` and `old_numbers`: item numbers in the longer table."""
    nodes, fresh_at = len(old["columns"]), walk.before + np.arange(len(walk.before))
    is_old = np.ones(nodes + len(fresh_at), dtype=bool)
    is_old[fresh_at] = False
    shift = np.cumsum(np.bincount(walk.before, minlength=nodes + 1), dtype=np.int32)  # fresh nodes up to an old one

    def moved(node: Ints) -> Ints:
        """Old and fresh nodes -> their numbers in the merged trie."""
        merged = node + shift[np.maximum(node, 0)]
        merged[node < 0] = fresh_at[-1 - node[node < 0]]
        return merged

    def spread(values: Rows, fresh: Rows | Ints | int) -> Rows:
        merged = np.empty(len(is_old), dtype=np.int32)
        merged[is_old], merged[fresh_at] = values, fresh
        return merged

    columns, below = spread(old["columns"], walk.columns), spread(old["below"], 0)
    moves = len(old_numbers) and old_numbers[-1] >= len(old_numbers)  # new items came in between
    lowest = spread(old_numbers.astype(np.int32)[old["lowest"]] if moves else old["lowest"], np.iinfo(np.int32).max)
    counts = spread(np.diff(old["children"]), 0)
    above = moved(walk.parents)
    np.add.at(counts, above, 1)
    children = np.ones(len(is_old) + 1, dtype=np.int32)
    np.cumsum(counts, out=children[1:])
    children[1:] += 1
    parents = spread(old["parents"] + shift[old["parents"]], above)
    ends = np.empty(len(old_numbers) + len(order), dtype=np.int32)
    ends[old_numbers] = old["ends"] + shift[old["ends"]]
    columns[0], lowest[0], below[0] = 0, 0, len(old_numbers) + len(order)
    for rows, at in walk.steps:
        node = moved(at)
        ends[order[rows]] = node  # the last one stays
        np.add.at(below, node, 1)
        np.minimum.at(lowest, node, order[rows].astype(np.int32))
    named = {"columns": columns, "parents": parents, "children": children, "lowest": lowest, "below": below}
    return {**named, "ends": ends}


def _levels(levels: tuple[int, ...], fresh: list[int]) -> tuple[int, ...]:
    """First node of each depth, `fresh` more at each but the root's; and the number of nodes."""
    wide = max(len(levels) - 2, len(fresh))
    sizes = [*np.diff(levels).tolist()[1:], *[0] * (wide + 2 - len(levels))]
    more = [*fresh, *[0] * (wide - len(fresh))]
    return (0, 1, *(1 + np.cumsum([size + added for size, added in zip(sizes, more, strict=True)])).tolist())
