"""Slices of the test users: by length of the history, by how often the target occurs in training, by its time."""

from __future__ import annotations

import numpy as np

from components.evaluation.arrays import UNKNOWN, Cases, Times

HEAD_SHARE = 0.2
"""The most frequent fifth of the items that occur in training is the head."""

_DAY = 86_400 * 1_000_000
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
    # Counts up to the core's own tell who must be somebody's target, and the order of a tie tells the next id.
    by_core = {f"{cases.core} or more": seen >= cases.core, f"fewer than {cases.core}": seen < cases.core}
    sliced = {
        "history length": by_length,
        "target": by_target,
        "training interactions of the target": by_core if cases.core else {},
        "time of the target": _by_time(cases.times) if cases.times is not None else {},
    }
    masks = {slicing: {name: mask for name, mask in found.items() if mask.any()} for slicing, found in sliced.items()}
    return {slicing: found for slicing, found in masks.items() if found}


def by_times_seen(cases: Cases) -> dict[str, np.ndarray]:
    """How often the target occurs in training; every user is in one slice, and empty ones are left out."""
    seen = cases.counts[cases.targets]
    found = {"never (new items)": seen == 0, "one to five times": (seen > 0) & (seen <= 5), "more often": seen > 5}
    return {name: mask for name, mask in found.items() if mask.any()}


def by_day(times: Times) -> dict[str, np.ndarray]:
    """Whether the target is of a later day (UTC) than all that the prompt holds; empty slices are left out."""
    known = _by_time(times)["not known"]
    last = np.full(len(times.prompts), np.iinfo(np.int64).min)
    filled = times.prompts.lengths > 0
    if filled.any():
        last[filled] = np.maximum.reduceat(times.prompts.values, times.prompts.offsets[:-1][filled])
    later = ~known & ((times.targets // _DAY > last // _DAY) | ~filled)
    found = {"a later day": later, "the prompt's last day": ~known & ~later, "not known": known}
    return {name: mask for name, mask in found.items() if mask.any()}


def _by_time(times: Times) -> dict[str, np.ndarray]:
    """Whether the target is later than all that the prompt holds, or at the time of its last item."""
    prompts = times.prompts
    last = np.full(len(prompts), np.iinfo(np.int64).max)
    filled = prompts.lengths > 0
    known = times.targets != UNKNOWN
    if filled.any():
        starts = prompts.offsets[:-1][filled]
        last[filled] = np.maximum.reduceat(prompts.values, starts)
        known[filled] &= np.minimum.reduceat(prompts.values, starts) != UNKNOWN
    later = known & ((times.targets > last) | ~filled)
    return {
        "later than the whole prompt": later,
        "same time as the prompt's last item": known & ~later,
        "not known": ~known,
    }


def head_items(counts: np.ndarray) -> np.ndarray:
    """[items] bool: the most frequent fifth (at least one) of the items with any training interaction; ties by id."""
    warm = int((counts > 0).sum())
    order = np.lexsort((np.arange(len(counts)), -counts))
    head = np.zeros(len(counts), dtype=bool)
    head[order[: int(np.ceil(HEAD_SHARE * warm))]] = True
    return head
