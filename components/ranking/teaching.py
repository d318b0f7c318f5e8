"""Teaches a ranker on events held out of the training histories themselves.

Voices are built without the last event of every training history, and the ranker learns to find it among what they
propose. Then they are built from the whole training histories: on these the validation targets choose the epoch, and
whether a network or the readable sum is used. No test target is known here.

    taught = teach(learned, Held(histories, days, validation_targets), params.rank, params.voices, core=5)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.progress import Progress
from components.ranking.lists import Held, Lists
from components.ranking.ranker import Kind, Ranker
from components.ranking.reading import Reader
from components.ranking.training import Trained, gains, paired, train
from components.sampling import derive
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.learned import Learned

_SUM_RATE = 5.0
"""The sum learns at so many times the network's rate: it has one layer to learn in as many steps."""


@dataclass(frozen=True)
class Choice:
    """The ranker and what validation said of its two kinds."""

    ranker: Ranker
    ranks: dict[Kind, NDArray[np.int64]]
    """[asked] of the validation targets, by each kind."""
    epochs: dict[Kind, list[int]]
    difference: tuple[float, float, float]
    """NDCG@10 of the network minus that of the sum, and its 95 % interval."""

    def report(self) -> dict[str, Any]:
        """For report.json: figures on validation, and the weights of the sum."""
        mean, low, high = self.difference
        return {
            "used": self.ranker.used,
            "validation": {kind: {"ndcg_at_10": float(gains(ranks).mean())} for kind, ranks in self.ranks.items()},
            "network_minus_sum": {"ndcg_at_10": mean, "interval": [low, high]},
            "best_epochs": self.epochs,
            "weights": self.ranker.weights(),
        }


@dataclass(frozen=True)
class Taught:
    """A choice, and the voices of the whole training histories that it was made on."""

    choice: Choice
    reader: Reader
    voices: Voices
    """The settings of the reader's voices."""


def held_out(learned: Learned, events: int = 1) -> tuple[Learned, Held]:
    """What is left without the last `events` of each history, and the first of these as the target of what is left.

    A history of no more than `events` is neither learned from nor asked.
    """
    histories = learned.histories
    left = np.maximum(histories.lengths - events, 0)
    kept = np.flatnonzero(left)
    places = np.arange(len(histories.values)) - histories.offsets[:-1][histories.owners]
    rows = places < left[histories.owners]
    past = Ragged.cut(histories.values[rows], left[kept])
    targets = histories.values[histories.offsets[:-1][kept] + left[kept]].astype(np.int64)
    known = None if learned.known_days is None else learned.known_days[rows]
    return replace(learned, histories=past, known_days=known), Held(past, learned.days[rows], targets)


def as_if_new(learned: Learned, held: Held, share: float) -> tuple[Learned, Held]:
    """The same where this share of the items is known by its text alone: no event of theirs is left, and those who took
    one next are who asks. Whose history has no other items is neither learned from nor asked."""
    chances = np.random.default_rng(derive(learned.seed, "rank", "hidden")).random(len(learned.catalogue.table))
    histories, hidden = learned.histories, chances < share
    rows = ~hidden[histories.values]
    left = np.bincount(histories.owners[rows], minlength=len(histories))
    past = Ragged.cut(histories.values[rows], left)
    known = None if learned.known_days is None else learned.known_days[rows]
    asks = np.flatnonzero(hidden[held.targets] & (left > 0))
    days = Ragged(past.offsets, learned.days[rows]).take(asks).values
    return replace(learned, histories=past, known_days=known), Held(past.take(asks), days, held.targets[asks])


def teach(
    learned: Learned, valid: Held, chosen: Rank, voices: Voices, *, core: int, progress: Progress | None = None
) -> Taught:
    """Build voices, read lists, learn and choose. `core`: the k of a k-core that counted held-out events, else 0."""
    inner = []
    for events in range(1, chosen.holdouts + 1):
        left, held = held_out(learned, events)
        pairs = [(left, held), *([as_if_new(left, held, chosen.hidden_items)] if chosen.hidden_items else [])]
        for known, asked in pairs:
            reader = Reader.build(known, chosen, voices, core=core)
            inner.append(Lists.read(reader, asked.some(chosen.most_users, learned.seed), progress))
    reader = Reader.build(learned, chosen, voices, core=core)
    lists = Lists.read(reader, valid.some(chosen.most_users, learned.seed), progress)
    masked = learned.catalogue.drop_repeats
    choice = choose(inner, lists, chosen, seed=learned.seed, masked=masked, progress=progress)
    return Taught(choice, reader, voices)


def learn(
    kind: Kind,
    inner: Sequence[Lists],
    valid: Lists,
    chosen: Rank,
    *,
    seed: int,
    masked: bool,
    progress: Progress | None = None,
) -> list[Trained]:
    """One kind of ranker: all its networks, or the one sum."""
    places: list[tuple[int | str, ...]] = [("network", number) for number in range(chosen.networks)]
    hidden, rate = (chosen.hidden, chosen.lr) if kind == "network" else ([], _SUM_RATE * chosen.lr)
    return [
        train(
            inner,
            valid,
            chosen,
            hidden=hidden,
            rate=rate,
            seed=derive(seed, *place),
            masked=masked,
            progress=progress,
        )
        for place in (places if kind == "network" else [("sum",)])
    ]


def choose(
    inner: Sequence[Lists], valid: Lists, chosen: Rank, *, seed: int, masked: bool, progress: Progress | None = None
) -> Choice:
    """Learn networks and the sum from the inner lists; validation says which is used.

    Raises `BadInput` where no user has a next item among the candidates.
    """
    if not any(map(len, inner)):
        raise BadInput(
            "the ranker has nothing to learn from: no history goes on with an item that a voice proposes",
            where="histories.parquet",
            mend="it takes users with at least three events; lower clean.min_user_interactions, or wait for more",
        )

    (linear,) = learn("sum", inner, valid, chosen, seed=seed, masked=masked, progress=progress)
    networks = learn("network", inner, valid, chosen, seed=seed, masked=masked, progress=progress)
    names = tuple(each.name for each in valid.features)
    ranker = Ranker(names, tuple(each.network.taught() for each in networks), linear.network.taught(), "network")
    ranks: dict[Kind, NDArray[np.int64]] = {
        "network": valid.ranks(ranker.scores(valid.columns), masked=masked),
        "sum": linear.ranks,
    }
    difference = paired(gains(ranks["network"]) - gains(ranks["sum"]))
    used: Kind = "network" if difference[1] > 0 else "sum"
    epochs: dict[Kind, list[int]] = {"network": [each.epoch for each in networks], "sum": [linear.epoch]}
    return Choice(replace(ranker, used=used), ranks, epochs, difference)
