"""The real stages on the demo shop with pictures and relations beside it, as `python -m components` runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from components.ranking.load import load
from components.recommender import item_views
from components.registry.bundle import BASES, assemble
from components.registry.extension import extend
from components.settings.decoding import Decoding
from components.settings.file import load as load_params
from components.storage import vectors
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.ragged import Ragged
from components.views.newcomers import of_new
from tests.media.test_media import png
from tests.workspaces import MICRO, make_workspace, run_here, set_params


@pytest.mark.slow
def test_views_go_from_raw_files_into_texts_ranker_and_figures(tmp_path: Path) -> None:
    """Prevents: a door that the stages do not open, and a report that does not say what the views are worth."""
    settings = MICRO | {"views": {"words": ["maker"]}, "train": MICRO["train"] | {"views": ["shot"]}}
    root = make_workspace(tmp_path / "ws", settings)
    run_here(root, "ingest")
    layout = Layout(root, "demo")
    items = pq.read_table(layout.items)["item_id"].to_pylist()
    assert pq.read_metadata(layout.relations).num_rows == 0
    raw = root / load_params(root / "params.yaml").ingest.path
    (raw / "kg.tsv").write_text(
        "head\trelation\ttail\n" + "".join(f"{e}\tmaker\tmaker {n % 9}\n" for n, e in enumerate(items))
    )
    (raw / "shots").mkdir()
    for number, item in enumerate(items[:-5]):
        (raw / "shots" / f"{item}.png").write_bytes(png((number % 250, 40, 90)))
    set_params(root, {"ingest": {"relations": "kg.tsv", "media": {"shot": {"files": "shots"}}}})
    run_here(root, "ingest", "validate", "views", "clean")
    clean = pq.read_table(layout.items_clean)
    assert all("maker: maker " in text for text in clean["text"].to_pylist())
    run_here(root, "train", "index", "rank", "evaluate")
    report = read_json(layout.rank_report)
    assert {"with_views", "shuffled", "without", "taken", "says", "in_words"} == set(report["views"])
    hybrid = load(layout.hybrid)
    assert {"view:shot", "view:relations"} <= set(hybrid.reader.voices)  # type: ignore[attr-defined]
    history = pq.read_table(layout.histories)["history"][0].as_py()
    assert hybrid.recommend([history], 5, Decoding())[0]
    layers = {file.name for file in (layout.pair / item_views.FOLDER).glob("*.safetensors")}
    assert layers == {item_views.RECOMMENDER, item_views.GENERATOR}, "both models read views"
    _add_an_item(root, layout, raw)


def _add_an_item(root: Path, layout: Layout, raw: Path) -> None:
    """A new item whose picture is that of another one: for whom it is like, and what the language model reads of it."""
    params = load_params(root / "params.yaml")
    bundle, out = assemble(layout, params), root / "longer"
    clean = pl.read_parquet(layout.items_clean)
    like = next(item for item in clean["item_id"] if (raw / "shots" / f"{item}.png").is_file())
    shutil.copyfile(raw / "shots" / f"{like}.png", raw / "shots" / "NEW.png")
    found = of_new(["NEW"], params.views, params.ingest, bundle / BASES, raw, layout)
    row = clean.row(0, named=True) | {"item_id": "NEW", "title": "zebra", "text": "title: zebra"}
    done = extend(bundle, pl.DataFrame([row], schema=clean.schema), out, found)
    assert done.words == {"NEW": "zebra"}
    voice = load(out / "hybrid").reader.voices["view:shot"]  # type: ignore[attr-defined]
    scores = voice.scores(Ragged.of([[voice.catalogue.row_of[like]]]), np.full(1, np.nan))[0]
    assert scores[voice.catalogue.row_of["NEW"]] == pytest.approx(1.0, abs=1e-4)
    read = vectors.load(out / item_views.FOLDER, [like, "NEW"])["shot"]
    np.testing.assert_allclose(read[0], read[1], atol=1e-6)  # type: ignore[index]
