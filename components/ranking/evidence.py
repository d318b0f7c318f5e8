"""What single items of a history say for a candidate: links of a matrix [items, items], not summed.

columns = evidence(graph.links, asked, most=20)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.ranking.features import Asked, Columns, Feature, named, stacked
from components.storage.ragged import slices
from components.voices.fading import Days

GROUP = "evidence"
_EVENTS = 64
"""Events whose links are read at a time: all of one history, or one of each of many."""
NAMES = ("from_last", "from_second_last", "strongest", "links", "place_of_strongest", "from_last_day")


def features(voice: str) -> list[Feature]:
    """Of the links from the history's items: that of the newest and of the one before, the strongest, how many there
    are, how many places back the strongest is (`most` where there is none), and the strongest of the newest day."""
    return named(GROUP, NAMES, voice)


def evidence(links: sparse.csr_array, asked: Asked, *, most: int) -> Columns:
    """[candidates, 6] of the newest `most` items of each history. An item says nothing for itself."""
    count, histories = len(asked.items), asked.histories
    last, second, strongest, links_found, of_last_day = (np.zeros(count) for _ in range(5))
    place = np.full(count, float(most))
    recent, row_of = on_last_day(asked), _row_of(asked, links.shape[1])
    longest = min(most, int(histories.lengths.max(initial=0)))
    for first in range(0, longest, many := max(1, _EVENTS // max(len(histories), 1))):
        backs = np.arange(first, min(first + many, longest))
        back, users = np.nonzero(histories.lengths[None, :] > backs[:, None])
        back = backs[back]
        events = histories.offsets[1:][users] - 1 - back
        sources = histories.values[events]
        # All links of each of these items, of which those to a candidate of its user count.
        starts = links.indptr[sources].astype(np.int64)
        which, places, to = slices(links.indices, starts, links.indptr[sources + 1] - starts)
        rows = row_of[users[which], to]
        kept = np.flatnonzero((rows >= 0) & (to != sources[which]))
        rows, which, places = rows[kept], which[kept], places[kept]
        strength, recently = links.data[starts[which] + places], recent[events[which]]
        if first < 2:
            for column, steps in ((last, 0), (second, 1)):
                at = np.flatnonzero(back[which] == steps)
                column[rows[at]] = strength[at]
        before = strongest[rows]
        _raise(strongest, rows, strength, once=many == 1)
        best = np.flatnonzero((strength == strongest[rows]) & (strength > before))
        place[rows[best[::-1]]] = back[which[best[::-1]]]  # of equal ones the newest, which is written last
        links_found += np.bincount(rows[strength > 0], minlength=count)
        _raise(of_last_day, rows, np.where(recently, strength, 0.0), once=many == 1)
    return stacked([last, second, strongest, links_found, place, of_last_day])


def _raise(column: NDArray[np.float64], rows: NDArray[np.int64], values: NDArray[np.floating], *, once: bool) -> None:
    """The larger of a column and `values` at `rows`, in place; `once`: no row stands there twice, which is faster."""
    if once:
        column[rows] = np.maximum(column[rows], values)
    else:
        np.maximum.at(column, rows, values)


def _row_of(asked: Asked, items: int) -> NDArray[np.int32]:
    """[histories, items] the row of a candidate, -1 for what is none."""
    found = np.full((len(asked.histories), items), -1, np.int32)
    found[asked.owners, asked.items] = np.arange(len(asked.items))
    return found


def on_last_day(asked: Asked) -> NDArray[np.bool_]:
    """[events] whether an event is on the day of the newest of its history; where times are not known, that alone."""
    days: Days = np.floor(asked.days)
    ends = asked.histories.offsets[1:][asked.histories.owners] - 1
    found: NDArray[np.bool_] = (days == days[ends]) | (np.arange(len(days)) == ends)
    return found
