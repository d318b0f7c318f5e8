"""What a voice would recommend at each place of the training histories, for `train.distil`: soft targets of a training.

    write(folder, items_clean, histories, Distillation(voice="graph_text"), seed=17)

Users are dealt into folds, and at the places of a fold's users the voice that answers was built from the other folds
alone: it has seen neither the target nor anything that the same user took later, and its answer for a place does not
depend on what stands behind it in that history. No held-out item is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.progress import Progress
from components.recommender.batches.soft_targets import Teacher
from components.settings.train import Distillation
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.folds import check, dealt, published
from components.voices.learned import Learned
from components.voices.lists import best
from components.voices.load import build
from components.voices.voice import Voice

_PROMPTS = 4096
"""Prefixes at a time."""


def write(
    folder: Path,
    items_clean: Path,
    histories: Path,
    chosen: Distillation,
    *,
    seed: int,
    drop_repeats: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Publish the teacher of the histories in `folder`, which is returned; one that lies there already stays.

    Raises `BadInput` for a voice that is none, or has to be trained.
    """
    check(str(chosen.voice), where="params.yaml: train.distil.voice", use="teach")
    made = partial(taught, chosen=chosen, seed=seed, progress=progress)
    return published(folder, items_clean, histories, made, drop_repeats=drop_repeats)


def taught(learned: Learned, chosen: Distillation, *, seed: int, progress: Progress | None = None) -> Teacher:
    """The lists of `chosen.voice` at each place of the histories of `learned`."""
    known = learned.histories
    fold = dealt(len(known), chosen.folds, seed=seed, what="distil")
    lists: list[NDArray[Any]] = []
    shares: list[NDArray[np.float32]] = []
    lengths = np.zeros(len(known.values), np.int64)
    where: list[NDArray[np.int64]] = []
    for number in (progress or Progress()).track(range(chosen.folds), f"what {chosen.voice} teaches"):
        voice = build(str(chosen.voice), learned.of_users(np.flatnonzero(fold != number)))
        for places, items, scores in _asked(voice, known, learned.days, np.flatnonzero(fold == number), chosen.items):
            there = items >= 0
            powers = np.where(there, np.maximum(scores, 1e-30), 1.0).astype(np.float64) ** chosen.sharpness * there
            total = powers.sum(axis=1, keepdims=True)
            lengths[places] = there.sum(axis=1)
            where.append(places)
            lists.append(items[there])
            shares.append((powers / np.where(total > 0, total, 1.0))[there].astype(np.float32))
    order = np.concatenate([*where, np.zeros(0, np.int64)])
    packed = Ragged.cut(np.concatenate([*lists, np.zeros(0, np.int64)]), lengths[order])
    whole = Ragged(packed.offsets, np.concatenate([*shares, np.zeros(0, np.float32)]))
    back = np.argsort(order, kind="stable")
    missing = np.setdiff1d(np.arange(len(known.values)), order)
    assert not len(missing), "each place is asked once"
    return Teacher(known, packed.take(back), whole.take(back).values)


def _asked(
    voice: Voice, known: Ragged, days: Days, users: NDArray[np.int64], most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Places of the histories of `users`, and the best items of each from what stands before it."""
    places = np.concatenate([np.arange(known.offsets[user], known.offsets[user + 1]) for user in users] or [users])
    begins = known.starts_of(places)
    for start in range(0, len(places), _PROMPTS):
        some, begin = places[start : start + _PROMPTS], begins[start : start + _PROMPTS]
        lengths = some - begin
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(begin - offsets[:-1], lengths) + np.arange(offsets[-1])
        first = 0
        for block, scores in voice.blocks(Ragged(offsets, known.values[at]), days[at]):
            own = block if voice.catalogue.drop_repeats else None
            items, values = best(scores, most, least=voice.LEAST, excluded=own)
            yield some[first : first + len(block)], items, values
            first += len(block)
