"""The real stages on the demo shop with pictures and relations beside it, as `python -m components` runs them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.ranking.load import load
from components.settings.decoding import Decoding
from components.settings.file import load as load_params
from components.storage.artifacts import read_json
from components.storage.layout import Layout
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
    assert {"with_views", "shuffled", "without", "says", "in_words"} == set(report["views"])
    hybrid = load(layout.hybrid)
    assert {"view:shot", "view:relations"} <= set(hybrid.reader.voices)  # type: ignore[attr-defined]
    history = pq.read_table(layout.histories)["history"][0].as_py()
    assert hybrid.recommend([history], 5, Decoding())[0]
