"""What the history itself looks like, and whether the candidate stands in it."""

from __future__ import annotations

import numpy as np

from components.ranking.evidence import on_last_day
from components.ranking.features import Asked, Columns, Feature, named, stacked

GROUP = "history"


def features() -> list[Feature]:
    """Events, days from first to last, days between the last two, events of the last day; how often the candidate was
    taken already, and how lately: 1 / (1 + places back), 0 where it was not."""
    return named(GROUP, ("events", "span", "last_gap", "events_of_last_day", "taken", "taken_lately"))


def past(asked: Asked) -> Columns:
    """[candidates, 6]; days are 0 where times are not known."""
    histories, days = asked.histories, np.nan_to_num(asked.days)
    users, lengths = len(histories), histories.lengths
    span, gap = np.zeros(users), np.zeros(users)
    ends = histories.offsets[1:] - 1
    some, two = lengths > 0, lengths > 1
    span[some] = days[ends[some]] - days[histories.offsets[:-1][some]]
    gap[two] = days[ends[two]] - days[ends[two] - 1]
    of_last_day = np.bincount(histories.owners, on_last_day(asked), users)
    height = 1 + max(int(histories.values.max(initial=0)), int(asked.items.max(initial=0)))
    events = histories.owners * height + histories.values
    # Newest first, so that the first place of each is the newest.
    keys, newest, times = np.unique(events[::-1], return_index=True, return_counts=True)
    back = ends[histories.owners[::-1]] - np.arange(len(events))[::-1]
    wanted = asked.owners * height + asked.items
    taken, lately = np.zeros(len(wanted)), np.zeros(len(wanted))
    if len(keys):
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = keys[place] == wanted
        taken[there] = times[place[there]]
        lately[there] = 1.0 / (1.0 + back[newest[place[there]]])
    of_users = [np.asarray(each)[asked.owners] for each in (lengths, span, gap, of_last_day)]
    return stacked([*of_users, taken, lately])
