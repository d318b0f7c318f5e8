"""What a model has to beat: popularity, and a graph of items that needs no training at all.

Both see the training histories alone; at test they are shown the same prompt as the model, and both are ranked with and
without the items that the prompt holds already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse

from components.evaluation.arrays import Cases, Sequences

# The item graph's constants (docs/reading-a-run.md); no knobs, so that its figures stay comparable.
REACH = 12
STEP_DECAY = 0.9
BACKWARD = 0.5
AGE_DECAY = 0.6
POPULARITY_DISCOUNT = 0.3

Lists = np.ndarray
"""[users, depth] item positions, best first, padded with -1."""


def popularity(cases: Cases, *, depth: int, mask_seen: bool) -> Lists:
    """The items that occur most often in training, the same for everybody but for what they have already."""
    order = np.lexsort((np.arange(len(cases.counts)), -cases.counts))
    order = order[cases.counts[order] > 0]
    # Nobody has more items to skip than the longest prompt holds.
    order = order[: depth + int(cases.prompts.lengths.max(initial=0))]
    return _top((order for _ in range(len(cases.prompts))), cases.prompts, depth=depth, mask_seen=mask_seen)


def item_graph(cases: Cases, *, depth: int, mask_seen: bool) -> Lists:
    """Neighbours in other users' histories of what the prompt holds, the newest first in weight.

    score(c) = sum over the prompt, newest first, of 0.6^age * weight(h -> c) / sqrt(count h) / count(c)^0.3, with the
    weights of `graph`. An item without any path from the prompt is not recommended.
    """
    return _top(_ranked(cases), cases.prompts, depth=depth, mask_seen=mask_seen)


def graph(histories: Sequences, items: int) -> sparse.csr_array:
    """[items, items] weights: i before j at distance d <= 12 in a history of n adds 0.9^(d-1) / log2(2+n) to
    weight(i -> j), and half of it to weight(j -> i)."""
    user, values = histories.owners, histories.values
    scale = 1.0 / np.log2(2.0 + histories.lengths)
    forward = sparse.csr_array((items, items))
    # Distance by distance, so that what stands in memory is the graph and not every pair of every history.
    for distance in range(1, REACH + 1):
        together = user[:-distance] == user[distance:]
        earlier, later = values[:-distance][together], values[distance:][together]
        weight = STEP_DECAY ** (distance - 1) * scale[user[distance:][together]]
        forward += sparse.coo_array((weight, (earlier, later)), shape=(items, items)).tocsr()
    return (forward + BACKWARD * forward.T).tocsr()


def _ranked(cases: Cases, batch: int = 2048) -> Iterator[np.ndarray]:
    """For each user all items with a score, best first; ties by item id."""
    items, prompts = len(cases.item_ids), cases.prompts
    counts = np.maximum(cases.counts, 1)
    weights = (graph(cases.train, items) * counts[None, :] ** -POPULARITY_DISCOUNT).tocsr()
    strength = AGE_DECAY**prompts.age / np.sqrt(counts[prompts.values])
    shown = sparse.csr_array((strength, prompts.values, prompts.offsets), shape=(len(prompts), items))
    for start in range(0, len(prompts), batch):
        scores = (shown[start : start + batch] @ weights).tocsr()
        scores.sort_indices()
        for first, last in zip(scores.indptr[:-1], scores.indptr[1:], strict=True):
            yield scores.indices[first:last][np.argsort(-scores.data[first:last], kind="stable")]


def _top(ranked: Iterator[np.ndarray], prompts: Sequences, *, depth: int, mask_seen: bool) -> Lists:
    lists = np.full((len(prompts), depth), -1, dtype=np.int64)
    for row, (order, prompt) in enumerate(zip(ranked, prompts, strict=True)):
        if mask_seen:
            # The first depth + len(prompt) hold depth unseen ones if there are that many.
            order = order[: depth + len(prompt)]
            order = order[~np.isin(order, prompt)]
        best = order[:depth]
        lists[row, : len(best)] = best
    return lists


BASELINES: dict[str, Callable[..., Lists]] = {"popularity": popularity, "item_graph": item_graph}
"""Name -> baseline, in the order in which they are reported."""
