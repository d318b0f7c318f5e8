"""The model card of a version: what the evaluation says of it (components/evaluation/model_card.py), with version,
commit and cost. It goes into register/ and into the version's run, as the stamped pages do; the description of the
version links to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.pages.render import markdown
from components.registry.cost import cost_of, in_words
from components.registry.names import cut
from components.storage.artifacts import publishing
from components.storage.layout import Layout

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def publish_card(client: MlflowClient, layout: Layout, version: ModelVersion, card: Mapping[str, Any]) -> None:
    """Write the card of a registered version and put it into its run. card: the template's other values."""
    from components.registry.bundle import BUNDLE

    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    commit = version.tags.get("idiom.git_commit", "not known")
    facts = [
        ("Registered", f"{version.name} version {version.version}, {made:%Y-%m-%d %H:%M} UTC"),
        ("Commit", f"{commit}, with changes" if version.tags.get("idiom.git_dirty") == "true" else commit),
        ("Bundle", f"{version.tags[BUNDLE]} (SHA-256)"),
        *card["facts"],
    ]
    cost = in_words(cost_of(client, str(version.run_id)))
    with publishing(layout.model_card) as temporary:
        values = {**card, "name": f"{version.name} version {version.version}", "facts": facts, "cost": cost}
        temporary.write_text(markdown("model_card.md.jinja", **values), encoding="utf-8")
    client.log_artifact(str(version.run_id), str(layout.model_card))
    run_id = str(version.run_id)
    found = link(str(client.get_run(run_id).info.experiment_id), run_id)
    if found not in (version.description or ""):
        client.update_model_version(version.name, version.version, cut(f"{found}\n\n{version.description or ''}"))


def link(experiment: str, run_id: str) -> str:
    """Markdown for a description: where MLflow shows the card and the report of a run."""
    run = f"#/experiments/{experiment}/runs/{run_id}/artifacts"
    return f"[Model card]({run}/model_card.md) · [evaluation report]({run}/report.html)"
