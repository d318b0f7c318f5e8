"""Is a file sorted by item code? It must be found in every disguise, and never be seen where there is none."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.canonical import coded
from components.data.validate.checks import Measured
from components.data.validate.sortedness import FEWEST_PAIRS, LARGEST_SHARE, by_item_code
from tests.data.tables_of import START, Event, interactions


def check(folder: Path, rows: list[Event]) -> Measured:
    interactions(rows).write_parquet(folder / "interactions.parquet")
    return by_item_code(coded.read(folder / "interactions.parquet"))


def baskets(users: int = 30, length: int = 6, items: int = 200, seed: int = 3) -> dict[str, list[str]]:
    draw = random.Random(seed)
    return {f"u{user:02}": [f"A{draw.randrange(items)}" for _ in range(length)] for user in range(users)}


def dated(histories: dict[str, list[str]], *, days_apart: int = 1) -> list[Event]:
    draw = random.Random(5)
    return [
        (user, item, START + timedelta(days=start + days_apart * step))
        for user, items in histories.items()
        for start in [draw.randrange(300)]
        for step, item in enumerate(items)
    ]


ORDERS = {
    "as text": lambda items: sorted(items),
    "as number": lambda items: sorted(items, key=lambda code: int(code[1:])),
    "descending": lambda items: sorted(items, reverse=True),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("times", ["none", "moved", "carried"])
def test_sorted_histories_are_found(tmp_path: Path, order: str, times: str) -> None:
    """Dates that were moved along with the sorting, or dropped, must not hide it."""
    true_order = dated(baskets())
    histories = {user: ORDERS[order](items) for user, items in baskets().items()}
    moments = [moment for _, _, moment in true_order]
    codes = [(user, item) for user, items in histories.items() for item in items]
    if times == "carried":
        when = {(user, item): moment for user, item, moment in true_order}
        moments = [when[pair] for pair in codes]
    rows = [(*pair, None if times == "none" else moment) for pair, moment in zip(codes, moments, strict=True)]
    measured = check(tmp_path, rows)
    assert measured.observed == 1.0
    assert [row["history"] for row in measured.rows] == [items[:5] for items in list(histories.values())[:10]]
    assert check(tmp_path, true_order).observed < 0.65  # type: ignore[operator]


def test_ties_that_an_honest_source_orders_by_id_are_no_defect(tmp_path: Path) -> None:
    """The Amazon sets are ordered by day, then id: two thirds of their neighbours ascend, and all is well."""
    rows: list[Event] = []
    for user, items in baskets(length=9).items():
        days = [items[:4], items[4:5], items[5:]]
        rows += [(user, item, START + timedelta(days=day)) for day, part in enumerate(days) for item in sorted(part)]
    measured = check(tmp_path, rows)
    assert measured.observed < LARGEST_SHARE and not measured.rows  # type: ignore[operator]


def test_ids_that_follow_time_are_no_defect(tmp_path: Path) -> None:
    """News, episodes, row numbers: everyone meets them in the order of their ids, because that is time."""
    released = {f"u{user:02}": [f"N{user + step:04}" for step in range(6)] for user in range(30)}
    rows = [(u, item, START + timedelta(days=int(item[1:]))) for u, items in released.items() for item in items]
    measured = check(tmp_path, rows)
    assert measured.skipped is not None and "follow time" in measured.skipped
    # The same sequences without times: nothing vouches for them.
    assert check(tmp_path, [(u, item, None) for u, item, _ in rows]).observed == 1.0


def test_few_neighbours_prove_nothing(tmp_path: Path) -> None:
    """Five users who happen to buy in alphabetical order are a coincidence, not a defect."""
    rows: list[Event] = [(f"u{user}", item, None) for user in range(5) for item in "abcde"]
    measured = check(tmp_path, rows)
    assert measured.observed is None and measured.skipped is not None and "20 neighbours" in measured.skipped


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(8, 60), st.integers(5, 9), st.integers(20, 500))
def test_chance_is_never_taken_for_sorting(
    tmp_path_factory: pytest.TempPathFactory, seed: int, users: int, length: int, items: int
) -> None:
    """By chance 95 % of 30 neighbours ascend once in ten million shops; here are sixty."""
    rows: list[Event] = [
        (user, item, None) for user, codes in baskets(users, length, items, seed).items() for item in codes
    ]
    measured = check(tmp_path_factory.mktemp("chance"), rows)
    assert measured.skipped or measured.observed < LARGEST_SHARE  # type: ignore[operator]
    assert measured.rows == []
    assert pl.DataFrame(rows, orient="row").height >= FEWEST_PAIRS
