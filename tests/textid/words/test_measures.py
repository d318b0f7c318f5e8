"""Measures in item texts."""

from __future__ import annotations

import pytest

from components.textid.words.measures import measures


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Sun Lotion 60 ml", ["60 ml"]),
        ("Dove Cream Oil, 3.4 Ounce (Pack of 2)", ["3 4 ounce", "pack of 2"]),
        ("SPF 30 1.7 oz., set of 3", ["spf 30", "1 7 oz", "set of 3"]),
        ("0.5 Fluid Ounce, 1.5 fl. oz, 2-Pack", ["0 5 fluid ounce", "1 5 fl oz", "2 pack"]),
        ("60ml", []),
        ("Barbie 2013, 3 in 1, a 4 mlk", []),
    ],
)
def test_a_number_stands_with_its_unit(text: str, found: list[str]) -> None:
    """Prevents "60" where the shop says "60 ml", half a decimal, and units found inside other words."""
    assert [" ".join(words) for words in measures(text)] == found
