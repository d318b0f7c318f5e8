"""The ranker as if one of its voices were not there: what it proposed alone is no candidate, what it said is not known.

found = left_out(hybrid, held, masked=True)
found.whole, found.without["graph"], found.proposed["graph"]       # [asked] each

Nothing is taught again: in place of what the voice says of a candidate stands the mean of the lists that the ranker
learned from. A ranker that was taught without the voice would lean on others instead (`benchmarks.quality`, `adds`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.progress import Progress
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held, Lists

_USERS = 1000
"""Whose candidates are in memory at a time: about 30 MiB."""


@dataclass(frozen=True)
class LeftOut:
    """Of each history that asked, the rank of its target, 0 where it is no candidate; and who proposed the target."""

    whole: NDArray[np.int64]
    without: dict[str, NDArray[np.int64]]
    """Voice -> [asked]"""
    proposed: dict[str, NDArray[np.bool_]]
    """Voice -> [asked]"""


def left_out(hybrid: Hybrid, held: Held, *, masked: bool, progress: Progress | None = None) -> LeftOut:
    """Ask about all of `held`, whose targets decide nothing."""
    reader, names = hybrid.reader, list(hybrid.reader.voices)
    levels = hybrid.ranker.linear.mean.astype(np.float16)
    whole: list[NDArray[np.int64]] = []
    without: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    proposed: list[NDArray[np.bool_]] = []
    for start in (progress or Progress()).track(range(0, len(held.histories), _USERS), "leave a voice out"):
        lists = Lists.read(reader, _between(held, start, start + _USERS))
        whole.append(lists.ranks(hybrid.ranker.scores(lists.columns), masked=masked))
        there = np.zeros((lists.asked, len(names)), bool)
        there[lists.users] = lists.proposed[lists.offsets[:-1] + lists.right]
        proposed.append(there)
        for name in names:
            rest = lists.without(voices=[name])
            kept = [at for at, each in enumerate(reader.features) if each.voice != name]
            columns = np.tile(levels, (len(rest.columns), 1))
            columns[:, kept] = rest.columns
            without[name].append(rest.ranks(hybrid.ranker.scores(columns), masked=masked))
    by_voice = np.concatenate([np.zeros((0, len(names)), bool), *proposed])
    return LeftOut(
        _joined(whole),
        {name: _joined(each) for name, each in without.items()},
        {name: by_voice[:, at] for at, name in enumerate(names)},
    )


def _between(held: Held, first: int, end: int) -> Held:
    offsets = held.histories.offsets
    end = min(end, len(held.histories))
    return Held(held.histories.between(first, end), held.days[offsets[first] : offsets[end]], held.targets[first:end])


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *parts])
