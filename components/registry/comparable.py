"""Keeps in MLflow what a later comparison needs of a version, and fetches it: results user by user, names of the items.

    source = comparable(workspace, params, "champion")         # or "12", or the id of a run
    source.folder                                              # for components/evaluation/comparison/sides.py

It lies in the run of the version, in a folder named after the bundle, as a run that is registered twice (evaluated with
other settings) has two versions.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadInput
from components.evaluation.comparison.sides import PER_USER, NotKept, keep
from components.registry.bundle import BUNDLE, bundle_sha256
from components.registry.cost import cost_of
from components.registry.store import answering, connect, tracking_uri
from components.settings.params import Params
from components.storage.artifacts import publishing
from components.storage.layout import Layout

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "comparison"
_RUN = re.compile(r"[0-9a-f]{32}")
_UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Source:
    """Where one side of a comparison is read from, and what is known of it."""

    folder: Path
    label: str
    run_id: str
    tags: Mapping[str, str]
    """Of the version, or of the run: commit, digest of dvc.lock, verdict of validation."""
    cost: Mapping[str, float]
    """What its training cost, as `contenders.COSTS`; empty where it is not known."""

    @property
    def facts(self) -> dict[str, Any]:
        """For a side of a comparison."""
        return {**self.tags, "cost": self.cost}


def log_comparable(client: MlflowClient, run_id: str, layout: Layout, bundle: Path) -> None:
    """Put what a comparison needs into the run of a bundle."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / FOLDER
        keep(layout, kept)
        log_kept(client, run_id, kept, bundle)


def log_kept(client: MlflowClient, run_id: str, kept: Path, bundle: Path) -> None:
    """Put what `sides.keep` or `sides.kept_of` wrote into the run of a bundle."""
    client.log_artifacts(run_id, str(kept), _place(bundle_sha256(bundle)))


def comparable(workspace: Path, params: Params, name: str) -> Source:
    """The version with this number or alias of the workspace's model, or what was last registered of the run `name`.

    Fetched once and kept under work/comparisons. Raises `BadInput` where there is no such version or run, `NotKept`
    where it was registered before results were kept.
    """
    with answering(workspace):
        client = connect(workspace)
        label, run_id, tags = _find(client, params.register.model_name, name, workspace)
        digest = tags.get(BUNDLE, "")
        kept = workspace / "work" / "comparisons" / digest[:16]
        if not (digest and (kept / PER_USER).is_file()):
            _fetch(client, run_id, digest, kept, label)
        return Source(kept, label, run_id, tags, cost_of(client, run_id))


def log_page(workspace: Path, run_id: str, path: Path, name: str | None = None) -> str:
    """Put the page of a comparison into a run, as `comparison/NAME` (None: its own name); where MLflow's own pages show
    it, after the address of the server."""
    name = name or path.name
    with answering(workspace):
        client = connect(workspace)
        client.log_text(run_id, path.read_text(encoding="utf-8"), f"{FOLDER}/{name}")
        experiment = client.get_run(run_id).info.experiment_id
    return f"#/experiments/{experiment}/runs/{run_id}/artifacts/{FOLDER}/{name}"


def find_version(client: MlflowClient, model: str, name: str, workspace: Path) -> ModelVersion:
    """The version with this number or alias. Raises `BadInput` where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        if name.isdigit():
            return client.get_model_version(model, name)
        return client.get_model_version_by_alias(model, name)
    except MlflowException as error:
        if error.error_code not in _UNKNOWN:
            raise
        raise BadInput(
            f"{name!r} is no version or alias of {model!r}",
            where=tracking_uri(workspace),
            mend="give a number, or an alias such as champion",
        ) from error


def _find(client: MlflowClient, model: str, name: str, workspace: Path) -> tuple[str, str, dict[str, str]]:
    """(label, run id, tags)."""
    from mlflow.exceptions import MlflowException

    try:
        if _RUN.fullmatch(name):
            run = client.get_run(name)
            return f"run {name[:8]}", name, dict(run.data.tags)
        version = find_version(client, model, name, workspace)
    except (BadInput, MlflowException) as error:
        if isinstance(error, MlflowException) and error.error_code not in _UNKNOWN:
            raise
        raise BadInput(
            f"{name!r} is no version, alias or run of {model!r}",
            where=tracking_uri(workspace),
            mend="give a number, an alias such as champion, a run id, a folder, or a contender such as item_graph",
        ) from error
    label = f"version {version.version}" if name.isdigit() else f"{name} (version {version.version})"
    return label, str(version.run_id), tags_of(client, version)


def tags_of(client: MlflowClient, version: ModelVersion) -> dict[str, str]:
    """What is known of a version: its own tags, and of its run what it has not."""
    return {**client.get_run(str(version.run_id)).data.tags, **version.tags}


def _fetch(client: MlflowClient, run_id: str, digest: str, kept: Path, label: str) -> None:
    if not digest or not client.list_artifacts(run_id, _place(digest)):
        raise NotKept(
            "its results user by user were not kept",
            where=label,
            mend="it was registered by an earlier version of Idiom: register it again, or compare folders of artifacts",
        )
    with publishing(kept) as temporary, tempfile.TemporaryDirectory() as folder:
        shutil.copytree(client.download_artifacts(run_id, _place(digest), folder), temporary)


def _place(digest: str) -> str:
    return f"{FOLDER}/{digest[:16]}"
