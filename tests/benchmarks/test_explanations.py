"""benchmarks/explanations.py on a small shop made here: both figures, and that they can be bad."""

from __future__ import annotations

import argparse

import polars as pl
import pytest

from benchmarks import explanations
from components.progress import Progress
from components.ranking.clauses import Clause
from components.ranking.explaining import Explainer
from tests.benchmarks.test_quality import write


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> explanations.Asked:
    folder = tmp_path_factory.mktemp("explanations")
    write(folder / "shop")
    chosen = argparse.Namespace(dataset="shop", data=folder, users=0, taught=100)
    return explanations.of_dataset(chosen, folder / "tables", Progress())


def test_both_figures(asked: explanations.Asked) -> None:
    """Prevents a command that is broken, and shares of nothing."""
    found = explanations.measure(asked, deleted=30)
    assert found["users"] == 30 and found["true_share"] == 1.0
    assert found["clauses"] >= found["results"] > 100 and found["cited"] > 30
    assert 0.6 < found["faithful_share"] <= 1.0


def test_bad_reasons_are_found_out(asked: explanations.Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a judge that says yes: reasons that cite the oldest item, and people who are not there."""

    def oldest(self: Explainer, histories, results, times=None):  # type: ignore[no-untyped-def]
        return [
            [(Clause("together", history[0], 1_000_000),) for _ in row]
            for history, row in zip(histories, results, strict=True)
        ]

    whole = explanations.measure(asked, deleted=30)
    monkeypatch.setattr(Explainer, "of", oldest)
    found = explanations.measure(asked, deleted=30)
    assert found["true_share"] == 0.0
    assert found["faithful_share"] < whole["faithful_share"] - 0.2


def test_a_shared_tail_is_looked_up() -> None:
    """Prevents a judge that believes every relation: both items have to have one and the same tail of it."""
    rows = [("a", "director", "x"), ("b", "director", "x"), ("c", "director", "y"), ("b", "genre", "y")]
    relations = pl.DataFrame(rows, schema=["head", "relation", "tail"], orient="row")
    tables = explanations.Tables({name: {} for name in "abc"}, [], relations)
    same = Clause("relation", "a", words=("director",))
    assert tables.true(same, "b")
    assert not tables.true(same, "c")
    assert not tables.true(Clause("relation", "a", words=("director", "genre")), "b")
    assert not tables.true(Clause("relation", "a"), "b")
