"""Relations and labels as vectors of items: tails weighted by how rare they are, or in a few numbers by SVD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.storage.vectors import Edges

Triples = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""[edges] each: item number, relation number, tail number."""


def numbered(
    heads: Sequence[str], relations: Sequence[str], tails: Sequence[str], place: dict[str, int]
) -> tuple[Triples, tuple[str, ...], list[str]]:
    """Edges of the items in `place` as numbers; names of the relations, and tails. A tail is one of its relation."""
    names = tuple(sorted(set(relations)))
    of_name = {name: number for number, name in enumerate(names)}
    of_tail: dict[tuple[str, str], int] = {}
    rows = []
    for head, relation, tail in zip(heads, relations, tails, strict=True):
        if head in place:
            number = of_tail.setdefault((relation, tail), len(of_tail))
            rows.append((place[head], of_name[relation], number))
    found = np.array(rows, np.int64).reshape(-1, 3)
    return (found[:, 0], found[:, 1], found[:, 2]), names, [tail for _, tail in of_tail]


def weighted(triples: Triples, items: int, names: tuple[str, ...]) -> Edges:
    """An item is its tails, each ln((1 + items with a relation) / items with the tail), divided to the length 1.

    A tail that all items have weighs next to nothing beside others; it is not 0, so that who has no other has a view.
    """
    rows, kinds, tails = triples
    count = int(tails.max(initial=-1)) + 1
    matrix = sparse.coo_array((np.ones(len(rows)), (rows, tails)), shape=(items, count)).tocsr()
    matrix.data[:] = 1.0  # an edge that stands there twice is one
    of_tail = np.zeros(count, np.int32)
    of_tail[tails] = kinds
    having = np.bincount(matrix.indices, minlength=count)
    some = max(int((np.diff(matrix.indptr) > 0).sum()), 1)
    rarity = np.log((1 + some) / np.maximum(having, 1))
    matrix.data = rarity[matrix.indices]
    lengths = np.sqrt(np.asarray((matrix * matrix).sum(axis=1)))
    matrix.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(matrix.indptr))
    matrix.sort_indices()
    return Edges(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data.astype(np.float32), of_tail, names
    )


def decomposed(edges: Edges, dims: int) -> NDArray[np.float32]:
    """[items, at most dims] the truncated SVD of the weights, rows of length 1 (latent semantic analysis, 1990)."""
    from scipy.sparse.linalg import svds

    shape = (edges.items, len(edges.kinds))
    matrix = sparse.csr_array((edges.data.astype(np.float64), edges.indices, edges.indptr), shape=shape)
    most = min(dims, min(shape) - 1)
    if most < 1:
        return np.zeros((edges.items, 1), np.float32)
    start = np.random.default_rng(0).standard_normal(min(shape))
    left, values, _ = svds(matrix, k=most, v0=start)
    order = np.argsort(-values)
    found = (left * values)[:, order]
    signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(most)])
    found = found * np.where(signs == 0, 1, signs)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > 1e-9, found / np.maximum(lengths, 1e-9), 0), np.float32)
