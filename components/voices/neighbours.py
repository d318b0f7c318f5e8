"""The neighbours of every item by a voice, for `train.neighbours`: whose words stand behind its ID in prompts.

    write(folder, items_clean, histories, Neighbours(voice="graph"), seed=17)

The neighbours of an item are the best items of the voice after that item alone. Users are dealt into folds, and what is
written for a fold's users comes from the other folds alone (folds.py): of all histories it would be the very next item.
One more block, of all users, is for those who ask the model. No held-out item is read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.progress import Progress
from components.recommender.prompts.neighbours import Listed
from components.settings.train import Neighbours
from components.storage.ragged import Ragged
from components.voices.folds import check, dealt, published
from components.voices.learned import Learned
from components.voices.lists import best
from components.voices.load import build
from components.voices.voice import Voice


def write(
    folder: Path,
    items_clean: Path,
    histories: Path,
    chosen: Neighbours,
    *,
    seed: int,
    drop_repeats: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Publish the neighbours in `folder`, which is returned; those that lie there already stay.

    Raises `BadInput` for a voice that is none, or has to be trained.
    """
    check(str(chosen.voice), where="params.yaml: train.neighbours.voice", use="name neighbours")
    made = partial(listed, chosen=chosen, seed=seed, progress=progress)
    return published(folder, items_clean, histories, made, drop_repeats=drop_repeats)


def listed(learned: Learned, chosen: Neighbours, *, seed: int, progress: Progress | None = None) -> Listed:
    """The neighbours of all items for each fold of users, and for everybody."""
    fold = dealt(len(learned.histories), chosen.folds, seed=seed, what="neighbours")
    lengths, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in (progress or Progress()).track(range(chosen.folds + 1), f"neighbours by {chosen.voice}"):
        voice = build(str(chosen.voice), learned.of_users(np.flatnonzero(fold != number)))
        for items in _asked(voice, len(learned.catalogue.table), chosen.items):
            lengths.append((items >= 0).sum(axis=1))
            values.append(items[items >= 0])
    found = Ragged.cut(np.concatenate(values), np.concatenate(lengths))
    return Listed(found, fold.astype(np.int64), len(learned.catalogue.table))


def _asked(voice: Voice, count: int, most: int) -> list[NDArray[np.int64]]:
    """[some items, at most `most`] the best other items after each item alone, -1 where there are no more."""
    alone = Ragged(np.arange(count + 1), np.arange(count))
    blocks = voice.blocks(alone, np.full(count, np.nan))
    return [best(scores, most, least=voice.LEAST, excluded=own)[0] for own, scores in blocks]
