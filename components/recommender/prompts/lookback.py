"""How many items of a history a prompt holds: the newest before a target, within limits of items and tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.storage.ragged import Ints


@dataclass(frozen=True)
class Lookback:
    """Histories laid end to end, and what each item costs; nothing is kept per interaction but its item."""

    items: NDArray[np.integer]
    """[interactions] item numbers, oldest first in each history."""
    tokens: Ints
    """[item numbers] tokens of an item in a prompt, its separator included; where they are other ones for some users,
    the same again for each kind of user."""
    max_history: int
    """Most items of a prompt."""

    def __call__(self, begin: Ints, target: Ints, room: Ints, kind: Ints | None = None) -> tuple[Ints, Ints]:
        """Of each target: the place of the first item that is read, and the tokens of all that are.

        `begin`: where its history begins; `room`: tokens that its items may have; `kind`: where in `tokens` the items
        of its user begin (None: at 0).
        """
        kind = np.zeros(len(target), np.int64) if kind is None else kind
        first, total, live = target.copy(), np.zeros(len(target), np.int64), np.arange(len(target))
        # One item further back for all whose history goes on: as many steps as the histories are long, not as many as
        # there are interactions in memory.
        for step in range(1, self.max_history + 1):
            live = live[target[live] - step >= begin[live]]
            if not len(live):
                break
            grown = total[live] + self.tokens[kind[live] + self.items[target[live] - step]]
            fits = grown <= room[live]
            live = live[fits]
            first[live], total[live] = target[live] - step, grown[fits]
        return first, total
