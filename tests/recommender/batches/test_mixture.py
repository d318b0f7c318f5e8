"""Samples of several catalogues: how many of each, none forgotten, the same ones for a resumed training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from components.recommender.batches.mixture import Mixture, quotas
from components.recommender.batches.samples import Samples
from components.recommender.batches.windows import Windows
from components.recommender.prompts.phrasings import Pieces
from components.storage.ragged import Ragged

NUMBERS = np.array([1, 0, 1, 0, 0, 1, 0, 0])
HISTORIES = Ragged.of([[0, 1], [10, 11, 12, 13], [2, 1], [14, 10, 15], [10, 11, 12], [1, 2, 3], [12, 13, 14, 15], [15]])
TOKEN_IDS = [(item + 3,) for item in range(16)]
KINDS: dict[str, Callable[..., Any]] = {
    "samples": lambda **more: Samples(HISTORIES, TOKEN_IDS, PIECES, end_token=1, max_history=20, **more),
    "windows": lambda **more: Windows(HISTORIES, TOKEN_IDS, CLOSED, max_history=20, **more),
}
PIECES = Pieces(heads=((2,),), tails=((2,),), separator=(2,), closed=False)
CLOSED = Pieces(heads=((2,),), tails=((),), separator=(1,), closed=True)


def test_an_epoch_is_shared_out_by_weight_and_root_of_size() -> None:
    """Against the definition. Prevents a catalogue of a million samples that leaves nothing of one of a thousand, and
    an epoch that costs more than one without a mixture."""
    assert quotas([900, 100], [1.0, 1.0]) == [750, 250]
    assert quotas([900, 100], [1.0, 3.0]) == [500, 500]
    assert quotas([900, 0], [1.0, 5.0]) == [900, 0]
    assert sum(quotas([7, 11, 13], [1.0, 0.3, 2.0])) == 31


@pytest.mark.parametrize("prefixes", ["all", "one"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_comes_before_one_comes_again(kind: str, prefixes: Any) -> None:
    """Prevents samples of a large catalogue that no epoch ever takes, an epoch that is the same as the one before, and
    a history that counts for the wrong catalogue."""
    mixed = KINDS[kind](mixture=Mixture(NUMBERS, [1.0, 1.0]))
    alone = KINDS[kind]()
    members = mixed._members(prefixes)
    sizes = [len(each) for each in members]
    assert sorted(np.concatenate([each[np.arange(len(each))] for each in members])) == list(
        range(alone._count(prefixes))
    )
    taken = [Counter[int]() for _ in sizes]
    epochs = 6
    for number in range(epochs):
        drawn = mixed._mixture.drawn(members, seed=5, number=number)
        of_epoch = drawn[np.arange(len(drawn))].tolist()
        assert of_epoch == drawn[np.arange(len(drawn))].tolist() and len(of_epoch) == alone._count(prefixes)
        for catalogue, pool in enumerate(members):
            own = set(pool[np.arange(len(pool))].tolist())
            taken[catalogue].update(each for each in of_epoch if each in own)
    for catalogue, wanted in enumerate(quotas(sizes, [1.0, 1.0])):
        counts = taken[catalogue].values()
        assert sum(counts) == epochs * wanted and max(counts) - min(counts) <= 1
        assert len(counts) == sizes[catalogue]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_hold_what_the_mixture_drew(kind: str) -> None:
    """Prevents a mixture that is computed and not used."""
    weights = [1.0, 9.0]
    mixed = KINDS[kind](mixture=Mixture(NUMBERS, weights))
    epoch = mixed.epoch(seed=5, number=0, batch_size=4, prefixes="one")
    rows = [row for rows in epoch for row in (rows.targets if kind == "samples" else rows.spans.end - 1)]
    small = sum(HISTORIES.owners[place] in (0, 2, 5) for place in rows)
    assert [len(rows) - small, small] == quotas([4, 3], weights)
