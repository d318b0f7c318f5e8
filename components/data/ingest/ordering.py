"""Are the histories in order of time, or were they sorted by item code on the way?

The Sports and Toys sequences that IDGenRec was released with are sorted by product code (its issues #3 and #7): the
"next" item is then the next code, which a model learns at once and no shop can use.

`validate` looks again at every source (`sortedness`), with its times. Here there are none, but there is the order of
the lines, which the canonical tables do not keep: it tells sorted codes from codes dealt out as the items came up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIN_USERS = 20
"""Fewer users that can tell: no verdict, so that a hand-made file is not refused for a coincidence."""
MAX_SHARE = 0.5
"""A larger share of sorted histories is no coincidence."""


@dataclass(frozen=True)
class Sortedness:
    """How many histories stand in the order of their item codes."""

    users: int
    """Users whose history can tell: at least three items that came up in an earlier history."""
    sorted_users: int
    expected: float
    """Sorted users to be expected if order and code had nothing to do with each other (sum of 2 / n!)."""
    examples: tuple[str, ...]
    """Up to ten of the sorted users."""

    @property
    def share(self) -> float:
        return self.sorted_users / self.users if self.users else 0.0

    @property
    def by_code(self) -> bool:
        """Sorted by item code beyond doubt."""
        return self.users >= MIN_USERS and self.share > MAX_SHARE and self.sorted_users > 3 * self.expected


def sortedness(histories: Iterable[tuple[str, Sequence[str]]]) -> Sortedness:
    """Count over (user, history) pairs in file order; ascending and descending both count as sorted.

    Only items that stood in an earlier history are looked at: where codes were dealt out in order of first appearance
    (1, 2, 3, ...), the items that a history brings in first are sorted by construction, the others are not.
    """
    seen: set[str] = set()
    users, found = 0, []
    expected = 0.0
    for user, history in histories:
        known = list(dict.fromkeys(item for item in history if item in seen))
        seen.update(history)
        if len(known) < 3:
            continue
        users += 1
        expected += 2 / math.factorial(min(len(known), 20))
        if known == (ordered := sorted(known, key=code_order)) or known == ordered[::-1]:
            found.append(user)
    return Sortedness(users, len(found), expected, tuple(found[:10]))


def code_order(item_id: str) -> tuple[int, int, str]:
    """Numbers by value, before all other codes, which go by their letters."""
    return (0, int(item_id), "") if item_id.isdecimal() else (1, 0, item_id)
