"""benchmarks/foundation.py: several seeds in one table."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.foundation import over_seeds
from components.foundation.judging import judged


def test_seeds_are_averaged_per_user_before_the_interval() -> None:
    """Prevents: the figure of one seed under the name of three, or an interval over users times seeds."""
    rival = np.arange(1, 101)
    ours = [np.full(100, 1), np.full(100, 2)]
    tables = [judged({"ours": each, "rival": rival}, ours="ours", rivals=["rival"]) for each in ours]
    both = over_seeds(tables)
    second = 1 / np.log2(3)
    assert both.figures["ours"] == pytest.approx((1 + second) / 2) and both.users == 100
    assert both.figures["rival"] == tables[0].figures["rival"] == tables[1].figures["rival"]
    low, high = both.differences["rival"][1:]
    wide = tables[0].differences["rival"]
    assert high - low == pytest.approx(wide[2] - wide[1], rel=0.05)
