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
    for back in range(min(most, int(histories.lengths.max(initial=0)))):
        users = np.flatnonzero(histories.lengths > back)
        events = histories.offsets[1:][users] - 1 - back
        sources = histories.values[events]
        # All links of each of these items, of which those to a candidate of its user count.
        starts = links.indptr[sources].astype(np.int64)
        which, places, to = slices(links.indices, starts, links.indptr[sources + 1] - starts)
        rows = row_of[users[which], to]
        kept = np.flatnonzero((rows >= 0) & (to != sources[which]))
        rows, which, places = rows[kept], which[kept], places[kept]
        strength, recently = links.data[starts[which] + places], recent[events[which]]
        if back < 2:
            (last, second)[back][rows] = strength
        place[rows[strength > strongest[rows]]] = back
        strongest[rows] = np.maximum(strongest[rows], strength)
        links_found[rows] += strength > 0
        of_last_day[rows] = np.maximum(of_last_day[rows], np.where(recently, strength, 0.0))
    return stacked([last, second, strongest, links_found, place, of_last_day])


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
