"""Whether MLflow has the bundle that lies in the workspace. DVC knows files alone, and no version.

A bundle comes by `register`, but also by `dvc pull`, `dvc checkout` and `dvc exp apply`, which tell no store of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadInput
from components.settings.params import Params
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST, sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MEND = "idiom retrain registers it (or: dvc repro --single-item --force register)"


def registration_of(layout: Layout) -> dict[str, Any] | None:
    """What registration.json says of the bundle that lies there now: name, version, aliases; None if it does not.

    Raises `BadInput` for a file that `register` did not write.
    """
    if not layout.registration.is_file() or not (layout.bundle / MANIFEST).is_file():
        return None
    registered = read_json(layout.registration)
    if not isinstance(registered, dict) or not {"name", "version", "aliases", "bundle_sha256"} <= set(registered):
        raise BadInput("not what `register` writes", where=str(layout.registration), mend=MEND)
    return registered if registered["bundle_sha256"] == sha256(layout.bundle / MANIFEST) else None


def find(client: MlflowClient, name: str | None, digest: str) -> ModelVersion | None:
    """The version of model `name`, or of any model, that holds the bundle with this SHA-256, with its aliases; None if
    there is none."""
    from components.registry.bundle import BUNDLE  # its room's imports are not those of who asks for a path

    of_model = "" if name is None else f"name = '{name}' and "
    found = client.search_model_versions(f"{of_model}tags.`{BUNDLE}` = '{digest}'")
    if not found:
        return None
    # Searching leaves the aliases out; asking for the one version brings them.
    first = min(found, key=lambda each: int(each.version))
    return client.get_model_version(first.name, first.version)


def missing_version(workspace: Path, params: Params) -> str | None:
    """What MLflow lacks, in words, such as "idiom version 3" or "the model of demo that lies here"; None: nothing.

    Also None where there is no bundle yet. Raises `BadInput` for a broken file or a store that does not answer.
    """
    layout = Layout(workspace, params.dataset)
    if not (layout.bundle / MANIFEST).is_file():
        return None
    registered = registration_of(layout)
    if registered is None:
        return f"the model of {params.dataset} that lies here"
    from components.registry.bundle import BUNDLE
    from components.registry.store import answering, connect, surely_has

    name, digest = registered["name"], registered["bundle_sha256"]
    if surely_has(workspace, name, BUNDLE, digest):  # without MLflow, whose import takes 3 CPU seconds
        return None
    with answering(workspace):
        version = find(connect(workspace), name, digest)
    return None if version else f"{name} version {registered['version']}"
