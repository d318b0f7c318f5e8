"""The model card of a version: what the evaluation says of it (components/evaluation/model_card.py), with version,
commit and cost. It goes into register/ and, without its head, into the version's run; the description of the version
links to it."""

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


TAUGHT_BY = "idiom.taught_by"
"""Tag of a version that several catalogues taught: their names, those of what it was adapted from first."""


def publish_card(client: MlflowClient, layout: Layout, version: ModelVersion, card: Mapping[str, Any]) -> None:
    """Write the card of a registered version and put it into its run. card: the template's other values."""
    from components.registry.bundle import BUNDLE

    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    commit = version.tags.get("idiom.git_commit", "not known")
    facts = [
        ("Registered", f"{version.name} version {version.version}, {made:%Y-%m-%d %H:%M} UTC"),
        ("Commit", f"{commit}, with changes" if version.tags.get("idiom.git_dirty") == "true" else commit),
        ("Bundle", f"{version.tags[BUNDLE]} (SHA-256)"),
        *(
            (name, version.tags[tag])
            for name, tag in (("Taught by", TAUGHT_BY), ("Goes on from", "idiom.start"))
            if tag in version.tags
        ),
        *card["facts"],
    ]
    cost = in_words(cost_of(client, str(version.run_id)))
    values = {**card, "name": f"{version.name} version {version.version}", "facts": facts, "cost": cost}
    text, run_id = markdown("model_card.md.jinja", **values), str(version.run_id)
    with publishing(layout.model_card) as temporary:
        temporary.write_text(text, encoding="utf-8")
    # MLflow shows Markdown, and takes the head that other tools read for a part of it.
    client.log_text(run_id, text.split("\n---\n", 1)[1].lstrip(), _name(version))
    found = link(str(client.get_run(run_id).info.experiment_id), run_id, _name(version))
    if found not in (version.description or ""):
        client.update_model_version(version.name, version.version, cut(f"{found}\n\n{version.description or ''}"))


def _name(version: ModelVersion) -> str:
    """In its run, which may have several versions: one training, evaluated or ranked with other settings."""
    return f"model_card_{version.version}.md"


def link(experiment: str, run_id: str, card: str) -> str:
    """Markdown for a description: where MLflow shows the card and the report of a run."""
    run = f"#/experiments/{experiment}/runs/{run_id}/artifacts"
    training = "workflowType=machine_learning"  # else MLflow opens its menu for prompts and traces
    return f"[Model card]({run}/{card}?{training}) · [evaluation report]({run}/report.html?{training})"
