"""The pages of a registered version: report and validation, stamped with version, commit and date.

What the stages write has no clock in it; here the version, its time and its commit are known. Each page goes into the
version's run and into register/, which is no output of the graph: another store has other versions and times.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import BadInput
from components.pages.stamp import stamped
from components.registry.published import registration_of
from components.storage.artifacts import publishing
from components.storage.layout import Layout
from components.storage.manifest import sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_DIGITS = 16


def publish_pages(client: MlflowClient, layout: Layout, version: ModelVersion) -> None:
    """Stamp the pages and put them into register/ and the version's run. Raises `BadInput` for one without a place."""
    from components.registry.bundle import BUNDLE  # its room's imports are not those of who asks for a path

    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    commit = version.tags.get("idiom.git_commit", "not known")
    facts = [
        ("Registered", f"{version.name} version {version.version}, {made:%Y-%m-%d %H:%M} UTC"),
        ("Commit", f"{commit}, with changes" if version.tags.get("idiom.git_dirty") == "true" else commit),
        ("dvc.lock", version.tags.get("idiom.dvc_lock", "not known")),
        ("Bundle", f"{version.tags[BUNDLE][:_DIGITS]} (SHA-256)"),
        ("metrics.json", f"{sha256(layout.metrics)[:_DIGITS]} (SHA-256)"),
    ]
    for source, target in _pages(layout):
        try:
            text = stamped(source.read_text(encoding="utf-8"), facts)
        except ValueError as error:
            mend = "run the stage that writes it again: it was written by another version"
            raise BadInput(f"the page cannot be stamped: {error}", where=str(source), mend=mend) from error
        with publishing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
        client.log_artifact(version.run_id, str(target))


def report_to_show(layout: Layout) -> Path:
    """The report as a person should open it: the stamped copy where it is of the evaluation that lies here."""
    copy = layout.registered_report
    if registration_of(layout) is None or not copy.is_file() or not layout.metrics.is_file():
        return layout.report
    current = f"{sha256(layout.metrics)[:_DIGITS]} (SHA-256)"
    return copy if current in copy.read_text(encoding="utf-8") else layout.report


def _pages(layout: Layout) -> list[tuple[Path, Path]]:
    """What the stages wrote, and its copy. A workspace of a grid has no validation page."""
    pages = [(layout.report, layout.registered_report), (layout.validation, layout.registered_validation)]
    return [(source, copy) for source, copy in pages if source.is_file()]
