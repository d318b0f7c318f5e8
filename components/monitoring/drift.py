"""Whether a window of interactions has drifted from the champion's training data, by seven measures.

    found = measure(before, now, params.monitor, hits=Hits(asked=400, now=0.06, before=0.09))
    found["items"].drifted, found["items"].said

Each measure is a size of effect with a threshold (`monitor:` in params.yaml), and a test of scipy's that says whether
chance gives as much. Both have to be crossed: with many events every difference is significant, with few every effect
is large. The level of the tests is divided by their number (Bonferroni).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from components.data.canonical.shift import popularity_buckets, stability
from components.monitoring.stream import Stream
from components.settings.operating import Monitor

_CATEGORIES = 30
"""The most frequent categories are buckets of their own, all others one."""
_TOP = 0.01
"""Share of the items whose share of the events is what `popularity` looks at."""
_DRAWS = 200


@dataclass(frozen=True)
class Measure:
    """What one measure found."""

    name: str
    meaning: str
    value: float | None
    """Size of the effect; None where it could not be measured."""
    threshold: float
    p: float | None
    """Chance of as much without any shift."""
    drifted: bool
    said: str

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Hits:
    """How often the champion's lists held what people took next: in the window, and when it was evaluated."""

    asked: int
    now: float
    before: float


MEANINGS = {
    "items": "Which items are taken: best sellers and the rest of the training data, in ten groups of equal demand.",
    "categories": "Which categories are taken.",
    "text_length": "How long the texts of the taken items are.",
    "session_length": "How many items people take in a day.",
    "popularity": "How much of the demand goes to the best-selling items of its own time.",
    "coverage": "How many interactions are with items that the champion has an ID for.",
    "hits": "How often the champion's recommendations hold what people take next.",
}


def measure(before: Stream, now: Stream, rules: Monitor, hits: Hits | None = None) -> dict[str, Measure]:
    """Every measure of `MEANINGS` by its name. A window with fewer than `rules.min_events` events says nothing."""
    level = (1.0 - rules.confidence) / len(MEANINGS)
    if len(now) < rules.min_events or len(before) < rules.min_events:
        said = f"{len(now):,} events now and {len(before):,} before; at least {rules.min_events:,} of each are needed"
        return {name: Measure(name, MEANINGS[name], None, 0.0, None, False, said) for name in MEANINGS}
    found = [
        _items(before, now, rules),
        _categories(before, now, rules),
        _lengths(before, now, rules),
        _sessions(before, now, rules),
        _popularity(before, now, rules),
        _coverage(before, now, rules),
        _hits(hits, rules),
    ]
    return {each.name: dataclasses.replace(each, drifted=_is_drift(each, level)) for each in found}


def _is_drift(found: Measure, level: float) -> bool:
    if found.value is None or found.p is None or found.p >= level:
        return False
    return found.value >= found.threshold


def _made(name: str, value: float, threshold: float, p: float, said: str) -> Measure:
    return Measure(name, MEANINGS[name], float(value), threshold, float(p), False, said)


def _items(before: Stream, now: Stream, rules: Monitor) -> Measure:
    buckets = popularity_buckets(before.counts())
    known, new = (stream.items[stream.covered[stream.items]] for stream in (before, now))
    height = int(buckets.max(initial=0)) + 1
    p, q = (np.bincount(buckets[items], minlength=height) for items in (known, new))
    index = stability(p, q)
    return _made("items", index, rules.max_items_shift, _same(p, q), f"stability index {index:.3f}")


def _categories(before: Stream, now: Stream, rules: Monitor) -> Measure:
    p, q = (np.bincount(each.categories[each.items] + 1, minlength=int(before.categories.max(initial=-1)) + 2)
            for each in (before, now))  # fmt: skip
    largest = np.argsort(-p, kind="stable")[:_CATEGORIES]
    rest = np.setdiff1d(np.arange(len(p)), largest)
    p, q = (np.append(each[largest], each[rest].sum()) for each in (p, q))
    index = stability(p, q)
    return _made("categories", index, rules.max_categories_shift, _same(p, q), f"stability index {index:.3f}")


def _same(p: NDArray[np.int64], q: NDArray[np.int64]) -> float:
    """Chance of such different counts from one distribution: chi-squared over the buckets that anybody is in."""
    some = (p + q) > 0
    if int(some.sum()) < 2:
        return 1.0
    return float(stats.chi2_contingency(np.stack([p[some], q[some]])).pvalue)


def _lengths(before: Stream, now: Stream, rules: Monitor) -> Measure:
    sides = [each.lengths[each.items] for each in (before, now)]
    return _distance("text_length", sides, rules.max_text_shift, "characters")


def _sessions(before: Stream, now: Stream, rules: Monitor) -> Measure:
    sides = [each.sessions() for each in (before, now)]
    return _distance("session_length", sides, rules.max_session_shift, "items a day")


def _distance(name: str, sides: list[NDArray[np.int64]], threshold: float, unit: str) -> Measure:
    """Kolmogorov and Smirnov's largest difference of two cumulative distributions."""
    found = stats.ks_2samp(*sides, method="asymp")
    means = [float(side.mean()) for side in sides]
    said = f"{means[1]:.4g} {unit} instead of {means[0]:.4g} in the mean; largest difference {found.statistic:.3f}"
    return _made(name, float(found.statistic), threshold, float(found.pvalue), said)


def _popularity(before: Stream, now: Stream, rules: Monitor) -> Measure:
    """The share of the top items, beside that of windows of the same size drawn from before: small ones have more."""
    drawn = np.random.default_rng(0)
    size = min(len(now), len(before))
    of = len(before.covered)
    usual = np.array([_top_share(drawn.choice(before.items, size), of) for _ in range(_DRAWS)])
    share = _top_share(now.items, of)
    z = (share - usual.mean()) / max(float(usual.std()), 1e-9)
    said = f"{share:.1%} of the events are with the top {_TOP:.0%} of the items, {usual.mean():.1%} before"
    p = 2.0 * float(stats.norm.sf(abs(z)))
    return _made("popularity", abs(share - float(usual.mean())), rules.max_popularity_shift, p, said)


def _top_share(items: NDArray[np.int64], of: int) -> float:
    counts = np.sort(np.bincount(items, minlength=of))[::-1]
    return float(counts[: max(1, int(_TOP * of))].sum() / max(len(items), 1))


def _coverage(before: Stream, now: Stream, rules: Monitor) -> Measure:
    there, usual = int(now.covered[now.items].sum()), float(before.covered[before.items].mean())
    share = there / len(now)
    p = float(stats.binomtest(there, len(now), min(max(usual, 1e-9), 1.0), alternative="less").pvalue)
    return _made("coverage", usual - share, rules.max_coverage_lost, p, f"{share:.1%}, {usual:.1%} before")


def _hits(hits: Hits | None, rules: Monitor) -> Measure:
    if hits is None or not hits.asked or not hits.before:
        return Measure("hits", MEANINGS["hits"], None, rules.max_hits_lost, None, False, "nobody was asked")
    lost = 1.0 - hits.now / hits.before
    p = stats.binomtest(round(hits.now * hits.asked), hits.asked, min(hits.before, 1.0), alternative="less").pvalue
    said = f"{hits.now:.1%} of {hits.asked:,} users, {hits.before:.1%} when it was evaluated"
    return _made("hits", lost, rules.max_hits_lost, float(p), said)
