"""Repeat and explore: two tasks in one data set, told apart in every place where figures are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from components.errors import BadInput
from components.evaluation import summary
from components.evaluation.arrays import cases
from components.evaluation.contenders import MODEL, baselines
from components.evaluation.evaluate import evaluate
from components.evaluation.metrics_file import read_metrics
from components.evaluation.repeats import rows
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Times
from components.registry.log import metric_values
from components.settings.decoding import Decoding
from components.settings.params import Evaluate
from components.storage.artifacts import publish_json
from components.storage.layout import Layout
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build

ITEMS = [f"i{number}" for number in range(8)]
# Training history, validation item, test item. The first two take again what they had, one of them the item of the
# validation, which is in the test prompt alone.
USERS = {
    "a": (["i0", "i1"], "i2", "i0"),
    "b": (["i1"], "i3", "i3"),
    "c": (["i2", "i2"], "i2", "i5"),
    "d": (["i3", "i4"], "i0", "i6"),
}


class Newest(NamedTuple):
    """Recommends what the user took last, then i5, then i7; masked: i5 and i7 alone."""

    catalogue: Catalogue

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        lists = [([] if self.catalogue.masks(decoding) else [row[-1]]) + ["i5", "i7"] for row in histories]
        return [[Recommendation(item, "", 0.0) for item in row[:k]] for row in lists]


def run(folder: Path, users: dict[str, Any], *, drop_repeats: bool, **settings: Any) -> dict[str, Any]:
    names, told = list(users), list(users.values())
    empty = pl.Series([[] for _ in names], dtype=pl.List(pl.String))
    asked = cases(
        pl.DataFrame({"item_id": ITEMS}),
        pl.DataFrame({"user_id": names, "history": [history for history, _, _ in told]}),
        pl.DataFrame({"user_id": names, "context": empty, "target": [valid for _, valid, _ in told]}),
        pl.DataFrame(
            {"user_id": names, "context": [[valid] for _, valid, _ in told], "target": [test for _, _, test in told]}
        ),
    )
    table = IdTable(tuple(ITEMS), tuple(f"word {item}" for item in ITEMS), tuple((n,) for n in range(len(ITEMS))))
    catalogue = Catalogue(table, drop_repeats=drop_repeats)
    recommenders = {
        MODEL: Newest(catalogue),
        **{name: build(name, Learned(catalogue, asked.train)) for name in baselines()},
    }
    chosen = Evaluate(ks=[1, 2], **settings)
    evaluate(chosen, asked, recommenders, catalogue, seed=3, layout=Layout(folder, "shop"))
    return read_metrics(Layout(folder, "shop").metrics)


def test_repeated_and_new_targets_are_told_apart(tmp_path: Path) -> None:
    """Prevents one figure for two tasks, a validation item that does not count as had, and shares of padding."""
    metrics = run(tmp_path, USERS, drop_repeats=False)
    assert metrics["protocol"]["headline"] == "unmasked"
    found = metrics["repeats"]
    assert found["users"] == {"repeat": 2, "explore": 2}
    assert found["unmasked"][MODEL] == {
        "repeat_recall_at_2": 0.5,
        "repeat_ndcg_at_2": 0.5,
        "explore_recall_at_2": 0.5,
        "explore_ndcg_at_2": pytest.approx(0.315465),
        "repeat_share_at_2": 0.5,
    }
    own = found["intervals"][MODEL]
    assert own.keys() == found["unmasked"][MODEL].keys()
    assert own["repeat_recall_at_2"] == [0.0, 1.0], "one of two users"
    assert own["repeat_share_at_2"] == [0.5, 0.5], "the same share for everybody"
    assert found["masked"][MODEL]["repeat_recall_at_2"] == found["masked"][MODEL]["repeat_share_at_2"] == 0.0
    assert found["masked"][MODEL]["explore_ndcg_at_2"] == 0.5


def test_repeats_stand_wherever_figures_are_read(tmp_path: Path) -> None:
    """Prevents a figure that only a JSON file knows."""
    metrics = run(tmp_path, USERS, drop_repeats=False)
    (said,) = (line for line in summary.sentences(metrics) if "had before" in line)
    assert said == (
        "50.0% of the users take an item that they had before. The model's recall@2 is .5000 of these, .5000 of the "
        "others; 50.0% of what it recommends are repeats."
    )
    page, table = Layout(tmp_path, "shop").report.read_text(), summary.markdown(metrics)
    for text in (page, table):
        assert said.split("model")[0][:40] in text
        assert "Repeats among the recommended@2" in text and "50.0% to 50.0%" in text
        assert "Recall@2, bought again (2 users)" in text and "Recall@2, new to the user (2 users), masked" in text
    assert "Bought again, and new" in page
    logged = metric_values(metrics)
    assert (logged["test/repeat_recall_at_2"], logged["test_masked/explore_ndcg_at_2"]) == (0.5, 0.5)
    assert "popularity/repeat_share_at_2" in logged


def test_without_repeats_nothing_is_said_of_them(tmp_path: Path) -> None:
    """Prevents a table of zeros in every shop where people take an item once; all repeats are all of it."""
    once = {"a": (["i0", "i1"], "i2", "i5"), "b": (["i1"], "i3", "i0")}
    metrics = run(tmp_path / "once", once, drop_repeats=True)
    assert metrics["protocol"]["headline"] == "masked" and "repeats" not in metrics and rows(metrics) == []
    again = run(tmp_path / "again", {name: USERS[name] for name in "ab"}, drop_repeats=False)
    assert again["repeats"]["users"] == {"repeat": 2, "explore": 0}
    assert "explore_recall_at_2" not in again["repeats"]["unmasked"][MODEL]
    assert "of the others" not in summary.sentences(again)[-1]


def test_the_other_choice_can_still_be_made(tmp_path: Path) -> None:
    """Prevents a setting that is ignored: a page of new arrivals for a shop whose customers buy again."""
    assert run(tmp_path, USERS, drop_repeats=False, mask_seen=True)["protocol"]["headline"] == "masked"


@pytest.mark.parametrize("place", ["users", "unmasked"])
def test_a_file_with_half_of_it_is_refused(tmp_path: Path, place: str) -> None:
    """Prevents a traceback in the summary of a metrics.json that git has merged."""
    metrics = run(tmp_path, USERS, drop_repeats=False)
    del metrics["repeats"][place]
    path = Layout(tmp_path, "shop").metrics
    publish_json(path, metrics)
    with pytest.raises(BadInput, match=f"repeats.{place}"):
        read_metrics(path)
