"""Does the monitor call where nothing drifts, and how soon where something does?

    python -m benchmarks.drift                          # 200 weeks without drift, 50 series with one
    python -m benchmarks.drift --weeks 20 --series 5

Prints one JSON line. The shop is drawn: users who come back, items of unequal demand in categories, weekly seasons,
some days with several purchases; measured by `measure` with the default thresholds, as `idiom monitor` does.

`false_alarms`: weeks of one long stationary series in which any measure crossed; the reference moves on with a champion
that is trained every `--trained-weeks` weeks. `mean_delay_weeks`: weeks from the beginning of a drift to the first
alarm (1: at the end of its first week), over series in which a drift of one of `KINDS` grows in a line over eight
weeks, until a third of the demand has moved; one that is not found within `--patience` weeks counts as `undetected`,
and in the mean as that many.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import facts
from components.monitoring.drift import measure
from components.monitoring.stream import Stream
from components.settings.operating import Monitor

KINDS = ("items", "categories", "text", "sessions", "coverage")
_GROWS = 8
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Made:
    """What a shop is like."""

    demand: NDArray[np.float64]
    categories: NDArray[np.int64]
    lengths: NDArray[np.int64]
    covered: NDArray[np.bool_]


def main() -> None:
    arguments = _arguments()
    drawn = np.random.default_rng(arguments.seed)
    alarms, by_measure = without_drift(drawn, arguments)
    delays: dict[str, list[int | None]] = {kind: [] for kind in KINDS}
    for number in range(arguments.series):
        kind = KINDS[number % len(KINDS)]
        delays[kind].append(delay(np.random.default_rng(arguments.seed + 1 + number), kind, arguments))
    every = [each for found in delays.values() for each in found]
    figures = {
        "weeks_without_drift": arguments.weeks,
        "false_alarms": alarms,
        "false_alarms_by_measure": by_measure,
        "series_with_drift": len(every),
        "undetected": sum(each is None for each in every),
        "mean_delay_weeks": _mean(every, arguments.patience),
        "mean_delay_weeks_by_kind": {kind: _mean(found, arguments.patience) for kind, found in delays.items()},
    }
    print(json.dumps({"benchmark": "drift", **figures, "settings": vars(arguments), **facts()}))


def without_drift(drawn: np.random.Generator, chosen: argparse.Namespace) -> tuple[int, dict[str, int]]:
    """(weeks with an alarm, alarms of each measure)."""
    rules, shop = Monitor(), _shop(drawn, chosen)
    reference_weeks = int(rules.reference_days // 7)
    series = [_week(drawn, shop, week, chosen) for week in range(reference_weeks + chosen.weeks)]
    alarms, by_measure = 0, dict[str, int]()
    for week in range(reference_weeks, len(series)):
        trained = week - (week - reference_weeks) % chosen.trained_weeks
        found = measure(
            _joined(series[trained - reference_weeks : trained], shop), _joined(series[week : week + 1], shop), rules
        )
        crossed = [name for name, each in found.items() if each.drifted]
        alarms += bool(crossed)
        for name in crossed:
            by_measure[name] = by_measure.get(name, 0) + 1
    return alarms, by_measure


def delay(drawn: np.random.Generator, kind: str, chosen: argparse.Namespace) -> int | None:
    """Weeks until the first alarm; None: none in time."""
    rules, shop = Monitor(), _shop(drawn, chosen)
    weeks = int(rules.reference_days // 7)
    before = _joined([_week(drawn, shop, week, chosen) for week in range(weeks)], shop)
    for week in range(1, chosen.patience + 1):
        share = min(1.0, week / _GROWS)
        now = _week(drawn, shop, weeks + week, chosen, kind, share)
        if any(each.drifted for each in measure(before, _joined([now], shop), rules).values()):
            return week
    return None


def _shop(drawn: np.random.Generator, chosen: argparse.Namespace) -> Made:
    demand = 1.0 / (5 + drawn.permutation(chosen.items))
    covered = np.ones(chosen.items, bool)
    covered[drawn.choice(chosen.items, chosen.items // 5, replace=False)] = False
    demand[~covered] *= 0.02  # those outside the k-core: rarely taken
    return Made(
        demand / demand.sum(), drawn.integers(0, 40, chosen.items), drawn.integers(20, 400, chosen.items), covered
    )


def _week(
    drawn: np.random.Generator, shop: Made, week: int, chosen: argparse.Namespace, kind: str = "", share: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(users, items, days) of one week; `share`: how far a drift of `kind` has come."""
    more = 1.0 + 0.8 * share * (kind == "sessions")
    visits = int(drawn.poisson(chosen.events / 1.6 * (1 + 0.1 * np.sin(2 * np.pi * week / 52))))
    sizes = drawn.geometric(1 / (1.6 * more), visits)
    users = np.repeat(drawn.integers(0, chosen.users, visits), sizes)
    days = np.repeat(7 * week + drawn.choice(7, visits, p=np.array([1, 1, 1, 1, 1.2, 1.5, 1.3]) / 8), sizes)
    # A visit is about a category: half of its items are of that of its first.
    items = drawn.choice(len(shop.demand), len(users), p=_demand(shop, kind, share))
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    same = drawn.random(len(items)) < 0.5
    by_category = [np.flatnonzero(shop.categories == each) for each in range(40)]
    for place in np.flatnonzero(same & (first != np.arange(len(items)))):
        of = by_category[shop.categories[items[first[place]]]]
        items[place] = of[drawn.integers(len(of))]
    return users.astype(np.int64), items.astype(np.int64), days.astype(np.int64)


def _demand(shop: Made, kind: str, share: float) -> NDArray[np.float64]:
    """The demand with a drift: a third of it moves to other items, categories, texts, or items without an ID."""
    if kind == "items":
        other = shop.demand[::-1]
    elif kind == "categories":
        other = shop.demand * (shop.categories < 6)
    elif kind == "text":
        other = shop.demand * (shop.lengths > 300)
    elif kind == "coverage":
        other = np.where(shop.covered, 0.0, 1.0)
    else:
        return shop.demand
    moved = share / 3
    return (1 - moved) * shop.demand + moved * other / other.sum()


def _joined(weeks: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]], shop: Made) -> Stream:
    users, items, days = (np.concatenate(part) for part in zip(*weeks, strict=True))
    return Stream(users, items, days, days * _DAY, shop.categories, shop.lengths, shop.covered)


def _mean(delays: list[int | None], patience: int) -> float:
    return round(float(np.mean([patience if each is None else each for each in delays])), 2) if delays else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", type=int, default=200, help="weeks without drift")
    parser.add_argument("--series", type=int, default=50, help="series with a drift")
    parser.add_argument("--patience", type=int, default=12, help="weeks after which a drift counts as not found")
    parser.add_argument("--trained-weeks", type=int, default=13, help="weeks from one training to the next")
    parser.add_argument("--events", type=int, default=1500, help="interactions a week")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
