"""Sparse matrices of items: as named arrays for a voice's file, the strongest of each row, and a block as a matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Arrays = Mapping[str, NDArray[Any]]


def packed(name: str, matrix: sparse.csr_array) -> dict[str, NDArray[Any]]:
    """Three arrays, `NAME.indptr`, `NAME.indices` and `NAME.data`, with sorted columns."""
    matrix.sort_indices()
    return {f"{name}.{part}": getattr(matrix, part) for part in ("indptr", "indices", "data")}


def unpacked(arrays: Arrays, name: str, columns: int) -> sparse.csr_array:
    """The matrix that was `packed`."""
    data, indices, indptr = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, columns))


def lengthened(arrays: Arrays, name: str, rows: sparse.csr_array) -> dict[str, NDArray[Any]]:
    """The three arrays of a `packed` matrix with more rows at its end; nothing before them is touched."""
    data, indices, indptr = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    rows.sort_indices()
    return {
        f"{name}.indptr": np.concatenate([indptr, indptr[-1] + rows.indptr[1:].astype(indptr.dtype)]),
        f"{name}.indices": np.concatenate([indices, rows.indices.astype(indices.dtype)]),
        f"{name}.data": np.concatenate([data, rows.data.astype(data.dtype)]),
    }


def empty_rows(rows: int) -> sparse.csr_array:
    """`rows` rows without an entry, for `lengthened`."""
    return sparse.csr_array((rows, 0), dtype=np.float32)


def strongest(matrix: sparse.csr_array, most: int) -> sparse.csr_array:
    """`matrix` with the `most` largest values of each row; of equal ones the first columns stay."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    kept = order[np.arange(len(order)) - matrix.indptr[rows] < most]
    return sparse.coo_array((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape).tocsr()


def with_sum_one(matrix: sparse.csr_array) -> sparse.csr_array:
    """`matrix`, of numbers above 0, with the sum of each row 1; an empty row stays empty."""
    sums = np.asarray(matrix.sum(axis=1))
    scaled = matrix.copy()
    scaled.data = (matrix.data / np.repeat(sums, np.diff(matrix.indptr))).astype(np.float32)
    return scaled
