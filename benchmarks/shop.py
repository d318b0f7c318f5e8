"""A real data set as clean tables, made by the project's own stages: what benchmarks of quality are asked on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from components.data.clean.clean import clean
from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.evaluation.arrays import Cases, cases
from components.recommender.catalogue import Catalogue
from components.settings.file import from_dict, load
from components.settings.params import Params, Ties
from components.storage.artifacts import publish_json
from components.storage.layout import Layout
from components.storage.vectors import Vectors
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned, in_order


def settings(file: Path, raw: Path) -> Params:
    """Those of a preset, or of what `idiom init` would write; the catalogue is that of the papers."""
    params = load(file) if file.is_file() else from_dict(suggest(raw)["params"])
    return replace(params, clean=replace(params.clean, merge_duplicates=False))


@dataclass(frozen=True)
class Shop:
    """The clean tables of a data set."""

    items: pl.DataFrame
    histories: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame
    drop_repeats: bool
    views: Mapping[str, Vectors] = field(default_factory=dict)
    """Vectors of the items, in the order of `items`."""

    def cases(self, *, refit: bool, on: str, max_users: int, seed: int) -> Cases:
        """What is asked: the test targets, or with `on` "valid" the validation targets."""
        asked = self.test if on == "test" else self.valid
        return cases(self.items, self.histories, self.valid, asked, refit=refit, max_users=max_users, seed=seed)

    def learned(self, asked: Cases) -> Learned:
        """What a voice may learn from; items are known by their ids alone."""
        ids = asked.item_ids
        table = IdTable(ids, ids, tuple((number,) for number in range(len(ids))))
        catalogue = Catalogue(table, drop_repeats=self.drop_repeats)
        texts = in_order(ids, self.items.to_dict(as_series=False))
        return Learned(catalogue, asked.train, asked.train_days, texts, views=self.views)


def read(params: Params, raw: Path, workspace: Path, ties: Ties, category: str = "") -> Shop:
    """Raw files -> clean tables, by the project's own stages; of the items of one category alone, if one is named."""
    layout = Layout(workspace, params.dataset)
    ingest(params.ingest, raw, layout)
    only(layout, category)
    publish_json(layout.verdict, {"passed": True})  # whether shuffled data would pass is not the question here
    clean(replace(params.clean, ties=ties), params.seed, layout)
    tables = (layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets)
    items, histories, valid, test = (pl.read_parquet(path) for path in tables)
    return Shop(items, histories, valid, test, drop_repeats=params.clean.drop_repeats)


def only(layout: Layout, category: str) -> None:
    """Leave in the canonical tables the items of one category alone; "": all."""
    if category:
        items, events = (pl.read_parquet(path) for path in (layout.items, layout.interactions))
        items = items.filter(pl.col("categories").list.contains(category))
        items.write_parquet(layout.items)
        events = events.filter(pl.col("item_id").is_in(items["item_id"].implode()))
        place = pl.col("position").rank("ordinal").over("user_id") - 1
        events.with_columns(place.cast(events.schema["position"])).write_parquet(layout.interactions)
