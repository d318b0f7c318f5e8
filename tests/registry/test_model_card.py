"""The model card of a version: whole, readable by others' tools, and beside the version in MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from components.evaluation.metrics_file import read_metrics
from components.evaluation.model_card import model_card
from components.registry.cost import cost_of
from components.registry.register import register
from components.registry.store import connect
from components.registry.tracking import run_for
from tests.registry.workspace import build


def test_a_version_has_a_card_that_says_what_it_is_worth(workspace: Path) -> None:
    """Prevents a model of which, away from its workspace, nobody can say data, split, figures, limits or cost."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    layout, params = build(workspace)
    items = pl.read_parquet(layout.items_clean)
    odd = items.with_columns(title=pl.lit("Honey | *50 ml*\nnew <b>"))
    odd.write_parquet(layout.items_clean)
    client = connect(workspace)
    run_id, _ = run_for(client, workspace, params, "f00d" * 16)
    for name, value in (("seconds/a_1", 20.0), ("seconds/b_1", 22.0), ("peak_rss_mib/a_1", 300.0),
                        ("peak_rss_mib/b_1", 200.0), ("a/batches_per_s", 9.0)):  # fmt: skip
        client.log_metric(run_id, f"system/{name}", value)
    register(params, layout, description="The findings.", card=model_card(layout, params))
    card = huggingface_hub.ModelCard.load(layout.model_card)
    metrics = read_metrics(layout.metrics)
    (result,) = [each for each in card.data.eval_results if each.metric_type == "ndcg_at_5"]
    assert result.metric_value == metrics["masked"]["model"]["ndcg_at_5"] and card.data.model_name == "idiom version 1"
    said = (
        "leave-one-out",
        "the order of the file",
        "history length: up to 4",
        "## Limits",
        "Too few test users",
        "Seconds of training, by the clock: 42",
        "of the largest rank: 300",
        r"words of i3 | Honey \| \*50 ml\* new \<b\> | i3",
    )
    for words in said:
        assert words in card.text, words
    low, _ = metrics["intervals"]["model"]["recall_at_5"]
    assert f"({low:.4f} to".replace("(0.", "(.") in card.text and "Not known" in card.text
    version = client.get_model_version("idiom", "1")
    assert "model_card_1.md" in {each.path for each in client.list_artifacts(version.run_id)}
    shown = Path(client.download_artifacts(version.run_id, "model_card_1.md", str(workspace))).read_text()
    assert shown.startswith("# idiom version 1: tiny") and shown.endswith(card.text[-200:])
    assert version.description.startswith("[Model card](#/experiments/") and version.description.endswith("findings.")
    register(params, layout, description="The findings.", card=model_card(layout, params))
    assert client.get_model_version("idiom", "1").description == version.description, "the link stands there once"


def test_a_training_that_nobody_followed_has_no_cost(workspace: Path) -> None:
    """Prevents a cost of zero, or a traceback, where the training ran on another machine."""
    layout, params = build(workspace)
    register(replace(params, seed=3), layout, card=model_card(layout, params))
    assert cost_of(connect(workspace), connect(workspace).get_model_version("idiom", "1").run_id) == {}
    assert "Not known: this training was not followed" in layout.model_card.read_text()
