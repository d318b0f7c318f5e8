"""Histories without single items, and what the voices say then.

short = shortened(histories, days, most=10)
values = said(voice, histories, short, variant, items)     # [rows] of items for shortened histories
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.settings.voices import Fading
from components.storage.ragged import Ragged
from components.voices.fading import Days, strengths
from components.voices.voice import Voice


@dataclass(frozen=True)
class Shortened:
    """Histories without all events of one item each."""

    histories: Ragged
    days: Days
    users: NDArray[np.int64]
    """[shortened] whose history it was."""
    items: NDArray[np.int64]
    """[shortened] the item that is gone."""


def shortened(histories: Ragged, days: Days, most: int) -> Shortened:
    """For each history as many as it has distinct items, newest first, at most `most`."""
    rows, kept_days, users, items = [], [], [], []
    for user, history in enumerate(histories):
        own = days[histories.offsets[user] : histories.offsets[user + 1]]
        for item in list(dict.fromkeys(history[::-1].tolist()))[:most]:
            kept = history != item
            rows.append(history[kept].tolist())
            kept_days.append(own[kept])
            users.append(user)
            items.append(item)
    gone = (np.array(each, np.int64) for each in (users, items))
    return Shortened(Ragged.of(rows), np.concatenate([np.zeros(0), *kept_days]), *gone)


def said(
    voice: Voice, histories: Ragged, short: Shortened, variant: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[rows] what a voice says of items for shortened histories.

    A voice that adds what single items say, each as strong as its age lets it be, is asked for each item once.
    """
    if not isinstance(voice.settings, Fading):
        return voice.scores(short.histories, short.days)[variant, items].astype(np.float64)
    single = np.unique(histories.values)
    says = voice.scores(Ragged(np.arange(len(single) + 1), single), np.full(len(single), np.nan))
    strong = strengths(short.histories, short.days, len(voice.catalogue.table), voice.settings)
    place = np.searchsorted(single, strong.indices)
    starts, lengths = strong.indptr[variant].astype(np.int64), np.diff(strong.indptr)[variant]
    row = np.repeat(np.arange(len(variant)), lengths)
    at = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + starts[row]
    return np.bincount(row, strong.data[at] * says[place[at], items[row]], len(variant)).astype(np.float64)


def ranks_beside(
    values: NDArray[np.float64],
    users: NDArray[np.int64],
    own: NDArray[np.float32],
    others: NDArray[np.float32],
    owners: NDArray[np.int64],
) -> NDArray[np.float64]:
    """[rows] 1 + how many of a user's `others` [candidates, sorted by owner] are above a value; what has the value
    `own` among them itself is not one."""
    order = np.lexsort((others, owners))
    of_users, offsets = others[order].astype(np.float64), np.searchsorted(owners, np.arange(users.max(initial=0) + 2))
    low, high = offsets[users].copy(), offsets[users + 1].copy()
    end = high.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        under = open_ & (of_users[np.minimum(middle, max(len(of_users) - 1, 0))] <= values)
        low = np.where(under, middle + 1, low)
        high = np.where(open_ & ~under, middle, high)
    return np.asarray(1.0 + (end - low) - (own > values), np.float64)
