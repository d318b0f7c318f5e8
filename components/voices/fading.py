"""A history as strengths of its items: the newest counts most (settings.voices.Fading)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.settings.voices import Fading
from components.storage.ragged import Ragged

if TYPE_CHECKING:
    from scipy import sparse

Days = NDArray[np.float64]
"""[events] days since 1970 of each event of some histories; NaN where its history's times are not known."""


def strengths(histories: Ragged, days: Days, items: int, settings: Fading) -> sparse.csr_array:
    """[users, items]: age_decay ** steps * exp(-days / age_days) of each item of each history, newest 1."""
    from scipy import sparse  # which a process that asks the engine once does without

    steps = _steps_back(histories, days, settings.same_day_step)
    strength = settings.age_decay**steps
    if settings.age_days is not None:
        # Times may go back where the order is that of given positions: what seems to come after the newest is as new.
        age = np.maximum(np.nan_to_num(newest(histories, days) - days), 0.0)
        strength *= np.exp(-age / settings.age_days)
    # A copy: what follows sorts in place, and the histories are others' too.
    cells = (strength, histories.values, histories.offsets)
    asked: Any = sparse.csr_array(cells, shape=(len(histories), items), copy=True)
    asked.sum_duplicates()
    return asked


def newest(histories: Ragged, days: Days) -> Days:
    """[events] the day of the newest event of each event's history."""
    return days[histories.offsets[1:][histories.owners] - 1]


def same_day(days: Days, distance: int) -> NDArray[np.bool_]:
    """[events - distance] whether an event and the one `distance` places later are of one day; unknown times are not.

    Whether they are of one history is the caller's question.
    """
    day = np.floor(days)
    return day[:-distance] == day[distance:]


def _steps_back(histories: Ragged, days: Days, same_day_step: float) -> NDArray[np.float64]:
    """[events] steps to the newest event of the history; one between two events of a day counts `same_day_step`."""
    last = histories.offsets[1:][histories.owners] - 1
    within = np.append(same_day(days, 1), False) if len(days) else np.zeros(0, bool)
    # Both kinds of steps are counted as whole numbers, so that a history's sum does not depend on those before it.
    done = np.cumsum(within) - within
    small = done[last] - done
    return (last - np.arange(len(last)) - small) + same_day_step * small
