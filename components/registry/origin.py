"""What a version was made from, kept in its run: settings, dvc.lock, and changes that no commit has.

    origin = origin_of(workspace, params, "champion")     # or "12"
    origin.facts["idiom.git_commit"], origin.lock         # what `idiom lineage` and `idiom reproduce` go by

It lies in a folder named after the bundle, as results do (comparable.py): a run may be registered twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadInput
from components.processes import git
from components.registry.bundle import BUNDLE, bundle_sha256
from components.registry.comparable import find_version, tags_of
from components.registry.store import answering, connect
from components.settings.params import Params
from components.storage.layout import Layout

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "origin"
PARAMS, LOCK, CHANGES = "params.yaml", "dvc.lock", "changes.patch"


@dataclass(frozen=True)
class Origin:
    """Where a version came from."""

    version: str
    aliases: tuple[str, ...]
    registered: str
    """Moment, UTC."""
    run_id: str
    facts: Mapping[str, str]
    """Tags of the version and of its run whose names begin with `idiom.`."""
    settings: str | None
    """params.yaml as it stood; None for a version that was registered before this was kept."""
    lock: str | None
    """dvc.lock as it stood; None where there was none."""
    changes: str
    """What `git diff` said of tracked files beside these two, as a patch; "" where the commit says all."""


def keep(client: MlflowClient, run_id: str, layout: Layout, bundle: Path) -> None:
    """Put params.yaml, dvc.lock and the changes since the commit into the run of a bundle."""
    place = _place(bundle_sha256(bundle))
    for name in (PARAMS, LOCK):
        if (layout.workspace / name).is_file():
            client.log_artifact(run_id, str(layout.workspace / name), place)
    if changes := git.patch(layout.workspace, PARAMS, LOCK):
        with tempfile.TemporaryDirectory() as folder:  # byte for byte: MLflow writes and reads text as UTF-8
            patch = Path(folder) / CHANGES
            patch.write_bytes(git.bytes_of(changes))
            client.log_artifact(run_id, str(patch), place)


def origin_of(workspace: Path, params: Params, name: str) -> Origin:
    """The origin of the version with this number or alias. Raises `BadInput` where there is none."""
    with answering(workspace):
        client = connect(workspace)
        version = find_version(client, params.register.model_name, name, workspace)
        facts = {key: value for key, value in sorted(tags_of(client, version).items()) if key.startswith("idiom.")}
        run_id, texts = str(version.run_id), {}
        place = _place(facts.get(BUNDLE, ""))
        with tempfile.TemporaryDirectory() as folder:
            for found in client.list_artifacts(run_id, place):
                file = Path(client.download_artifacts(run_id, found.path, folder))
                texts[file.name] = git.text_of(file.read_bytes())
        moment = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        # Asked for by number, a version brings its aliases.
        aliases = client.get_model_version(params.register.model_name, version.version).aliases
    return Origin(
        version=str(version.version),
        aliases=tuple(sorted(aliases)),
        registered=f"{moment:%Y-%m-%d %H:%M:%S}",
        run_id=run_id,
        facts=facts,
        settings=texts.get(PARAMS),
        lock=texts.get(LOCK),
        changes=texts.get(CHANGES, ""),
    )


def locked(lock: str) -> dict[str, dict[str, dict[str, str]]]:
    """Stage -> {"deps": {path: hash}, "outs": {path: hash}} of the text of a dvc.lock. Raises `BadInput`."""
    import yaml

    try:
        stages: dict[str, Any] = yaml.safe_load(lock)["stages"]
        return {
            name: {kind: {each["path"]: each["md5"] for each in stage.get(kind, [])} for kind in ("deps", "outs")}
            for name, stage in stages.items()
        }
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise BadInput("not what DVC writes", where="dvc.lock of the version", mend="name another version") from error


def _place(digest: str) -> str:
    return f"{FOLDER}/{digest[:16]}"
