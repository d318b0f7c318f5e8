"""A shop that renames all its items gets the same figures: nothing learns from the order of item ids, or breaks a tie
of scores by it. From raw files to metrics.json, exactly, for everything without random weights."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.data.clean.clean import clean
from components.data.ingest.ingest import ingest
from components.evaluation.arrays import cases, overlaid
from components.evaluation.contenders import MODEL, baselines
from components.evaluation.evaluate import evaluate
from components.evaluation.other_ties import OtherTies
from components.recommender.catalogue import Catalogue
from components.settings import params
from components.storage.artifacts import publish_json, read_json
from components.storage.layout import Layout
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build

ITEMS = [f"B{number:04}" for number in range(90)]
TWINS = {"B0011": "B0012", "B0051": "B0052"}
"""Items of one text, of which one stays."""


def raw_files(folder: Path, name: Mapping[str, str]) -> Path:
    """A shop whose items are called as `name` says: the rows are the same, in the same order.

    Items of a day stand in the order of their old names, as in Amazon's reviews; few items are sold often, and many
    scores are equal.
    """
    folder.mkdir(parents=True)
    draw = random.Random(7)
    titles = {item: f"{draw.choice(['red', 'blue', 'green'])} thing {number}" for number, item in enumerate(ITEMS)}
    titles |= {twin: titles[item] for item, twin in TWINS.items()}
    lines = ["user_id,item_id,timestamp"]
    for user in range(140):
        day = date(2014, 1, 1) + timedelta(days=user % 30)
        for _ in range(draw.randint(3, 6)):
            day += timedelta(days=draw.randint(1, 20))
            basket = {ITEMS[min(int(draw.expovariate(1 / 25)), 89)] for _ in range(draw.randint(1, 4))}
            lines += [f"u{user:03},{name[item]},{day}" for item in sorted(basket)]
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    rows = [f"{name[item]},{title}" for item, title in titles.items()]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *rows]) + "\n")
    return folder


def judged(folder: Path, name: Mapping[str, str], cleaning: params.Clean) -> tuple[Layout, dict[str, Any]]:
    """The data stages and an evaluation: the item graph stands for a model."""
    layout = Layout(folder, "shop")
    source = params.Ingest(format="table", path="raw", items="items.csv", interactions="interactions.csv")
    ingest(source, raw_files(folder / "raw", name), layout)
    publish_json(layout.verdict, {"passed": True})
    clean(cleaning, 17, layout)
    items = pl.read_parquet(layout.items_clean)
    paths = {"histories": layout.histories, "valid": layout.valid_targets, "test": layout.test_targets}
    tables = {which: pl.read_parquet(path) for which, path in paths.items()}
    theirs = {which: pl.read_parquet(layout.other_order / path.name) for which, path in paths.items()}
    ids = tuple(items["item_id"])
    catalogue = Catalogue(IdTable(ids, ids, tuple((number,) for number in range(len(ids)))))

    def of(tables: Mapping[str, pl.DataFrame]) -> Any:
        asked = cases(items, **tables, seed=17, core=cleaning.min_item_interactions)
        voices = {which: build(which, Learned(catalogue, asked.train)) for which in ("item_graph", *baselines())}
        return asked, {MODEL: voices["item_graph"], **{which: voices[which] for which in baselines()}}

    other = OtherTies(params.OTHER_TIES[cleaning.ties], *of(overlaid(tables, theirs)))
    asked, recommenders = of(tables)
    evaluate(params.Evaluate(), asked, recommenders, catalogue, seed=17, layout=layout, ties=cleaning.ties, other=other)
    return layout, read_json(layout.metrics)


@pytest.mark.parametrize(
    ("ties", "core"),
    [("file", "all"), ("shuffle", "all"), ("set", "all"), ("file", "training"), ("shuffle", "training")],
)
def test_renamed_items_get_the_same_figures(tmp_path: Path, ties: Any, core: Any) -> None:
    """Prevents: a model, a baseline, a sample or a tie of scores that sees how a shop names its items."""
    cleaning = params.Clean(min_user_interactions=3, min_item_interactions=3, ties=ties, core=core)
    names = random.Random(3).sample(ITEMS, len(ITEMS))
    renamed = dict(zip(ITEMS, names, strict=True))
    first, metrics = judged(tmp_path / "first", {item: item for item in ITEMS}, cleaning)
    other, again = judged(tmp_path / "other", renamed, cleaning)
    assert again == metrics
    assert metrics["ties"]["users"] > 50 and metrics["masked"]["item_graph"]["ndcg_at_10"] > 0

    # Of twins another one may stay: both are called by the name of the first.
    called = renamed | {twin: renamed[item] for item, twin in TWINS.items()}
    kept = {renamed[twin]: renamed[item] for item, twin in TWINS.items()}
    for path in ("histories", "valid_targets", "test_targets", "per_user", "items_clean"):
        before, after = (pl.read_parquet(getattr(layout, path)) for layout in (first, other))
        for column in ("item_id", "history", "context", "target", "also", "prompt", "recommended"):
            if column in before.columns:
                lists = before.schema[column] == pl.List(pl.String)
                one = before[column].to_list() if lists else [[item] for item in before[column]]
                two = after[column].to_list() if lists else [[item] for item in after[column]]
                assert [[called[item] for item in row] for row in one] == [[kept.get(i, i) for i in row] for row in two]
    assert pl.read_parquet(other.items_clean)["item_id"].to_list() != sorted(
        pl.read_parquet(other.items_clean)["item_id"]
    )


def test_the_direction_of_ids_is_worth_something_in_such_a_shop(tmp_path: Path) -> None:
    """Prevents: the test above passing because its shop has no ties that say anything."""
    cleaning = params.Clean(min_user_interactions=3, min_item_interactions=3)
    _, metrics = judged(tmp_path, {item: item for item in ITEMS}, cleaning)
    by_order = metrics["ties"]["all"]
    assert by_order["file"]["item_graph"]["ndcg_at_10"] != by_order["shuffle"]["item_graph"]["ndcg_at_10"]
    assert metrics["slices"]["time of the target"]["same time as the prompt's last item"]["users"] > 30
