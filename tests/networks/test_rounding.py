"""Rounding up to a multiple."""

from __future__ import annotations

import pytest

from components.networks.rounding import round_up


@pytest.mark.parametrize(("number", "rounded"), [(0, 0), (1, 8), (8, 8), (9, 16)])
def test_a_multiple_stays_and_the_rest_goes_up(number: int, rounded: int) -> None:
    """Prevents padding by a whole width where none is needed, and a tensor that is too short for its last token."""
    assert round_up(number, 8) == rounded
