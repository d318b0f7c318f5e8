"""Slices of the test users: by length of the history, by how often the target occurs in training."""

from __future__ import annotations

import numpy as np

from components.evaluation.arrays import Cases

HEAD_SHARE = 0.2
"""The most frequent fifth of the items that occur in training is the head."""

_LENGTHS = (("up to 4", 1, 4), ("5 to 8", 5, 8), ("9 to 16", 9, 16), ("17 and more", 17, None))


def slices(cases: Cases) -> dict[str, dict[str, np.ndarray]]:
    """Slicing -> slice -> [users] bool; the slices of one slicing cover every user once, empty ones are left out."""
    lengths, seen = cases.prompts.lengths, cases.counts[cases.targets]
    by_length = {"none": lengths == 0}
    by_length |= {
        name: (lengths >= low) & (lengths <= (high if high is not None else lengths.max()))
        for name, low, high in _LENGTHS
    }
    head = head_items(cases.counts)[cases.targets]
    by_target = {
        "head (top 20 % of items)": head,
        "tail (the other items)": ~head & (seen > 0),
        "cold (not in training)": seen == 0,
    }
    return {
        "history length": {name: mask for name, mask in by_length.items() if mask.any()},
        "target": {name: mask for name, mask in by_target.items() if mask.any()},
    }


def head_items(counts: np.ndarray) -> np.ndarray:
    """[items] bool: the most frequent fifth (at least one) of the items with any training interaction; ties by id."""
    warm = int((counts > 0).sum())
    order = np.lexsort((np.arange(len(counts)), -counts))
    head = np.zeros(len(counts), dtype=bool)
    head[order[: int(np.ceil(HEAD_SHARE * warm))]] = True
    return head
