"""Learning rate of a step: linear warm-up, then a cosine down to zero. A pure function, so nothing of it is saved."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, peak: float, warmup_share: float) -> float:
    """Rate of `step` (counted from 0) out of `steps`.

    It rises linearly over the first `warmup_share` of the steps (at least one) and falls along half a cosine; the last
    step still moves, at a rate just above zero.
    """
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (steps - warmup + 1)))
