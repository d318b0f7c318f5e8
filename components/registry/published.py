"""Checks that MLflow still has the version that registration.json names: DVC knows the file, not the database."""

from __future__ import annotations

from pathlib import Path

from components.errors import BadInput
from components.settings.params import Params
from components.storage.artifacts import read_json
from components.storage.layout import Layout

MEND = "dvc repro --single-item --force register (idiom retrain does it by itself)"


def missing_version(workspace: Path, params: Params) -> str | None:
    """What was registered and is not in MLflow any more, such as "idiom version 3"; None where all is well.

    Also None where nothing was registered yet. Raises `BadInput` for a broken file or a store that does not answer.
    """
    path = Layout(workspace, params.dataset).registration
    if not path.is_file():
        return None
    registered = read_json(path)
    if not isinstance(registered, dict) or not {"name", "version", "bundle_sha256"} <= set(registered):
        raise BadInput("not what `register` writes", where=str(path), mend=MEND)
    from components.registry.register import find
    from components.registry.store import answering, connect

    with answering(workspace):
        version = find(connect(workspace), registered["name"], registered["bundle_sha256"])
    return None if version else f"{registered['name']} version {registered['version']}"
