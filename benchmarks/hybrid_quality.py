"""The ranker over voices on a real data set: protocols, masks, slices, its variant without counts and times, and what
each voice adds beyond the rest. Part of benchmarks/quality.py.

`over_voices`: the ranker's NDCG@10 less that of each of its voices, `adds`: less that of a ranker that was taught
without the voice (its columns and the candidates that it alone proposes), each with the interval over users.

`strict`: voices and ranker learn from all but a user's last two items, the ranker on the third last. `refit`: the same
ranker over voices that were built once more with the validation items.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.shop import Shop
from components.evaluation.arrays import Cases
from components.evaluation.contenders import VARIANTS
from components.evaluation.metrics import bootstrap, ndcg, recall
from components.progress import Progress
from components.ranking.features import COUNTS_AND_TIMES
from components.ranking.lists import Lists
from components.ranking.reading import Reader
from components.ranking.teaching import choose, held_out, learn
from components.settings.params import Params
from components.zero_shot import held_of

K = 10
WITHOUT = "hybrid_without_counts_and_times"
_DAY = 86_400.0 * 1e6


def hybrid(shop: Shop, params: Params, chosen: argparse.Namespace, progress: Progress, *, adds: bool) -> dict[str, Any]:
    """PART -> what the result line has of it for one order of ties; `adds`: ask what each voice adds, too."""
    rank, voices, seed = params.rank, params.voices, params.seed
    core = params.clean.min_item_interactions if params.clean.core == "all" else 0
    asked = shop.cases(refit=False, on="valid", max_users=0, seed=seed)
    learned = replace(shop.learned(asked), seed=seed)
    inner = []
    for events in range(1, rank.holdouts + 1):
        left, held = held_out(learned, events)
        inner.append(Lists.read(Reader.build(left, rank, voices, core=core), held, progress))
    reader = Reader.build(learned, rank, voices, core=core)
    valid = Lists.read(reader, held_of(asked), progress)
    judged: dict[str, tuple[Cases, Lists]] = {"strict": (asked, valid)} if chosen.on == "valid" else {}
    if chosen.on == "test" and "strict" in chosen.protocols:
        test = shop.cases(refit=False, on="test", max_users=chosen.users, seed=seed)
        judged["strict"] = test, Lists.read(reader, held_of(test), progress)
    if "refit" in chosen.protocols:
        test = shop.cases(refit=True, on="test", max_users=chosen.users, seed=seed)
        again = Reader.build(shop.learned(test), rank, voices, core=core)
        judged["refit"] = test, Lists.read(again, held_of(test), progress)

    whole = choose(inner, valid, rank, seed=seed, masked=True, progress=progress)

    def learned_without(**left_out: Any) -> Callable[[Lists], NDArray[np.float32]]:
        """A ranker of the kind in use that never saw what is left out: lists without it -> scores."""
        some, judge = [each.without(**left_out) for each in inner], valid.without(**left_out)
        taught = learn(whole.ranker.used, some, judge, rank, seed=seed, masked=True, progress=progress)
        return lambda lists: np.mean([one.network.scores(lists.columns) for one in taught], axis=0, dtype=np.float32)

    parts: tuple[str, ...] = ("hybrid", WITHOUT, "hybrid_slices", "over_voices")
    found: dict[str, Any] = {**{part: {} for part in parts}, "ranker": {"strict": whole.report()}}
    timeless = learned_without(groups=[COUNTS_AND_TIMES])
    for protocol, (cases, lists) in judged.items():
        scores, rest = whole.ranker.scores(lists.columns), lists.without(groups=[COUNTS_AND_TIMES])
        found["hybrid"][protocol] = figures(scores, lists)
        found[WITHOUT][protocol] = figures(timeless(rest), rest)
        ranks = lists.ranks(scores, masked=True)
        found["hybrid_slices"][protocol] = slices(ranks, cases)
        gain = {voice: ndcg(ranks, K) - ndcg(theirs, K) for voice, theirs in ranks_of_voices(lists, rank.voices)}
        found["over_voices"][protocol] = _with_intervals(gain, seed)
    if adds and "strict" in judged:
        _, lists = judged["strict"]
        full = ndcg(lists.ranks(whole.ranker.scores(lists.columns), masked=True), K)
        gain = {}
        for voice in rank.voices:
            ranker, rest = learned_without(voices=[voice]), lists.without(voices=[voice])
            gain[voice] = full - ndcg(rest.ranks(ranker(rest), masked=True), K)
        found["adds"] = _with_intervals(gain, seed)
    return found


def ranks_of_voices(lists: Lists, voices: Sequence[str]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Each voice and the masked rank [asked] that it gives the target; 0 where it is not among its best, of which more
    than `K` are candidates. Of equal scores the target counts as the first."""
    at = lists.offsets[:-1] + lists.right
    names = [each.name for each in lists.features]
    for number, voice in enumerate(voices):
        rank = np.round(np.expm1(lists.columns[at, names.index(f"{voice}.rank")].astype(np.float64)))
        found = np.zeros(lists.asked, np.int64)
        found[lists.users] = np.where(lists.proposed[at, number] & ~lists.own[at], rank, 0)
        yield voice, found


def _with_intervals(gain: Mapping[str, NDArray[np.float64]], seed: int) -> dict[str, dict[str, Any]]:
    """Voice -> mean difference over users, and its interval."""
    intervals = bootstrap(gain, seed=seed)
    return {
        voice: {"ndcg_at_10": _rounded(each.mean()), "interval": [_rounded(bound) for bound in intervals[voice]]}
        for voice, each in gain.items()
    }


def by_protocol(hybrids: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """TIES -> PART -> PROTOCOL -> figures as PART -> PROTOCOL -> TIES -> figures; `adds` is of one order alone."""
    found: dict[str, Any] = {}
    for ties, parts in hybrids.items():
        for part, protocols in parts.items():
            if part == "adds":
                found[part] = protocols
                continue
            for protocol, figures_of in protocols.items():
                found.setdefault(part, {}).setdefault(protocol, {})[ties] = figures_of
    return found


def figures(scores: NDArray[np.float32], lists: Lists) -> dict[str, dict[str, float]]:
    """MASK -> recall and NDCG at 10; `candidates`: the share of users whose target is among them."""
    found: dict[str, dict[str, float]] = {
        mask: _metrics(lists.ranks(scores, masked=mask == "masked")) for mask in VARIANTS
    }
    return {**found, "candidates": {"recall": _rounded(len(lists) / lists.asked)}}


def slices(ranks: np.ndarray, asked: Cases) -> dict[str, dict[str, float]]:
    """Masked figures of some users: whose target has as many training events as a five-core asks for, or fewer; whose
    target is of a later day than all of the prompt, or of its last day."""
    often = asked.counts[asked.targets] >= 5
    parts = {"at_least_five_in_training": often, "fewer_than_five_in_training": ~often}
    if asked.times is not None:
        last = np.floor(asked.prompt_days[asked.prompts.offsets[1:] - 1])
        day = np.where(asked.times.targets < 0, np.nan, np.floor(asked.times.targets / _DAY))
        parts |= {"later_day": day > last, "same_day": day == last}
    return {name: {"users": int(rows.sum()), **_metrics(ranks[rows])} for name, rows in parts.items() if rows.any()}


def _metrics(ranks: np.ndarray) -> dict[str, float]:
    return {"ndcg_at_10": _rounded(ndcg(ranks, K).mean()), "recall_at_10": _rounded(recall(ranks, K).mean())}


def _rounded(value: float) -> float:
    return round(float(value), 6)
