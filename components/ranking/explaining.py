"""Why a result is recommended: clauses (clauses.py) that are true of the tables, about the evidence that decided.

explain = Explainer(hybrid)                                # explainer(recommender, decoding): where there is one
explain(histories, days, results)                          # [users] of [results] of clauses, the deciding one first
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from components.ranking.clauses import Clause
from components.ranking.deletion import NEWEST, SOURCES, Deletion, Part, standing
from components.ranking.hybrid import Hybrid
from components.ranking.modes import Modes
from components.ranking.shortened import shortened
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommender, Times
from components.settings.decoding import Decoding
from components.storage.ragged import Ragged
from components.voices.fading import Days

_NEARLY = 0.5
"""A source is named beside the first where without it the result loses at least this share of what it loses without
the first; an item is cited in place of the one that matters most, of which nothing can be said, likewise."""
_SOURCE = {"next": "people", "together": "people", "words": "words"} | dict.fromkeys(
    ("brand_and_kind", "brand", "kind", "relation"), "kinds"
)


class Writer(Protocol):
    """A language model that gives any items a score (`Engine`)."""

    @property
    def catalogue(self) -> Catalogue: ...

    def scores(
        self, histories: Sequence[Sequence[str]], candidates: Ragged, decoding: Decoding
    ) -> NDArray[np.float32]: ...


def explainer(recommender: Recommender, decoding: Decoding) -> Explainer | None:
    """Of a hybrid, or of a bundle with one; None for all others, and where no facts were saved.

    Where the language model alone answers, it is asked without single items of the history; else the ranker is.
    """
    if not isinstance(recommender, Modes):
        found = isinstance(recommender, Hybrid) and recommender.facts is not None
        return Explainer(recommender) if found and isinstance(recommender, Hybrid) else None
    if recommender.ranker.facts is None:
        return None
    mode = decoding.mode or recommender.choice.mode
    return Explainer(recommender.ranker, (cast(Writer, recommender.engine), decoding) if mode == "generate" else None)


class Explainer:
    """A hybrid and the facts beside it."""

    def __init__(self, hybrid: Hybrid, writer: tuple[Writer, Decoding] | None = None) -> None:
        """`writer`: the language model that answers alone, and its settings. Raises `ValueError` for a hybrid without
        facts."""
        if hybrid.facts is None:
            raise ValueError("the hybrid holds no facts")
        self._hybrid, self._facts, self._deletion, self._writer = hybrid, hybrid.facts, Deletion(hybrid), writer

    def of(
        self, histories: Sequence[Sequence[str]], results: Sequence[Sequence[str]], times: Times = None
    ) -> list[list[tuple[Clause, ...]]]:
        """The same of item ids."""
        row_of = self._hybrid.catalogue.row_of
        return self(*self._hybrid.read(histories, times), [[row_of[item] for item in row] for row in results])

    def __call__(
        self, histories: Ragged, days: Days, results: Sequence[Sequence[int]]
    ) -> list[list[tuple[Clause, ...]]]:
        """Of each result at least one clause: what it loses most without, of what can be said."""
        parts: Iterable[Part] = self._deletion.of(histories, days, results)
        if self._writer is not None:
            parts = _of_writer(*self._writer, histories, days, results, list(parts))
        return [
            [self._why(part, place, result) for place, result in enumerate(each)]
            for part, each in zip(parts, results, strict=True)
        ]

    def _why(self, part: Part, place: int, result: int) -> tuple[Clause, ...]:
        falls = part.falls[:, place]
        popular = self._facts.popular(result)
        if popular.kind == "popular" and part.counts[place] > max(np.nanmax(falls, initial=0.0), 0.0):
            return (popular,)
        for at in _order(falls):
            said = self._said(int(part.items[at]), result, part.sources[:, place])
            if said:
                return said
        return (popular,)

    def _said(self, had: int, result: int, sources: NDArray[np.float64]) -> tuple[Clause, ...]:
        """What can be said of a result and an item of the history, the source that weighs most first."""
        weight = dict(zip(SOURCES, np.nan_to_num(sources).tolist(), strict=True))
        best: dict[str, Clause] = {}
        for clause in self._facts.clauses(had, result):
            best.setdefault(_SOURCE[clause.kind], clause)
        named = sorted(best, key=lambda source: -weight[source])
        least = _NEARLY * weight[named[0]] if named else 0.0
        return tuple(best[source] for source in named if source == named[0] or weight[source] >= least > 0)


def _order(falls: NDArray[np.float64]) -> list[int]:
    """Items that may be cited, the one that the result loses most without first: those that matter nearly as much.

    Of what the ranker does not propose all, the newest first: nothing is known of what decided.
    """
    if np.isnan(falls).all():
        return list(range(len(falls)))
    order = np.argsort(-falls, kind="stable")
    most = falls[order[0]]
    return [int(at) for at in order if falls[at] > 0 and falls[at] >= _NEARLY * most] if len(falls) > 1 else [0]


def _of_writer(
    engine: Writer,
    decoding: Decoding,
    histories: Ragged,
    days: Days,
    results: Sequence[Sequence[int]],
    parts: Sequence[Part],
) -> list[Part]:
    """`parts` with how far results fall in the language model's list; how popular they are decides nothing there."""
    ids, short = engine.catalogue.table.item_ids, shortened(histories, days, NEWEST)
    rows = [[*own, *part.beside.tolist()[:5]] for own, part in zip(results, parts, strict=True)]

    def written(asked: Ragged, users: Sequence[int]) -> list[NDArray[np.float64]]:
        wanted = Ragged.of([rows[user] for user in users])
        named = [[ids[item] for item in row] for row in asked]
        scores = Ragged(wanted.offsets, engine.scores(named, wanted, replace(decoding, mode=None)).astype(np.float64))
        found = []
        for user, row in zip(users, scores, strict=True):
            found.append(standing(row[None], row[None, : len(results[user])])[0])
        return found

    before, after = written(histories, range(len(rows))), written(short.histories, short.users.tolist())
    found, start = [], 0
    for part, whole in zip(parts, before, strict=True):
        falls = np.array(after[start : start + len(part.items)]).reshape(len(part.items), len(whole)) - whole
        found.append(replace(part, falls=falls, counts=np.full(len(whole), np.nan)))
        start += len(part.items)
    return found
