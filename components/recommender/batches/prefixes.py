"""Which items of a history are training targets: all of them, or one a user and epoch."""

from __future__ import annotations

from typing import Literal

import numpy as np

from components.storage.ragged import Ints

Prefixes = Literal["all", "one"]
"""Every prefix of a history, or one per user and epoch."""
LOOKED_AT = 1 << 20
"""Samples from which the padded lengths are found; of more than that, evenly spaced ones."""


def evenly(count: int) -> Ints:
    """At most about `LOOKED_AT` of the numbers below `count`, evenly spaced; all of them if they are so few."""
    return np.arange(0, count, max(1, count // LOOKED_AT))


def prefixes_before(offsets: Ints) -> Ints:
    """[users + 1]: prefixes of the users before each, one for every item but the first of a history."""
    found = np.zeros(len(offsets), dtype=np.int64)
    np.cumsum(np.maximum(np.diff(offsets) - 1, 0), out=found[1:])
    return found
