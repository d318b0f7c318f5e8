"""Removes what a registration that died left of a bundle: logged models that no version names, each a whole copy of it.

MLflow makes the logged model first and the version last; a process that is killed between the two, or whose disk is
full, leaves a model that says PENDING and that nothing would ever use or remove.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from components.registry.bundle import BUNDLE
from components.registry.store import tracking_uri

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_OLD_MILLISECONDS = 3_600_000
"""Of a store that other machines share: a registration may be at work there, whose lock we do not see."""


def remove_abandoned(
    client: MlflowClient, workspace: Path, experiment: str, digest: str, say: Callable[[str], object]
) -> int:
    """Remove logged models of the bundle with this SHA-256 that no version names; returns how many.

    Called by who holds the lock of the store (register.py). What MLflow cannot remove is said, and ends nothing.
    """
    # Of whatever model's versions. Found so, a version has no `model_id`, but says where it came from.
    owned = {each.source for each in client.search_model_versions(f"tags.`{BUNDLE}` = '{digest}'")}
    found = [
        each
        for each in client.search_logged_models([experiment], f"tags.`{BUNDLE}` = '{digest}'")
        if f"models:/{each.model_id}" not in owned and _is_over(each, tracking_uri(workspace))
    ]
    for each in found:
        _remove(client, each, say)
    return len(found)


def _is_over(model: LoggedModel, uri: str) -> bool:
    """Whether nobody can be writing it."""
    return uri.startswith("sqlite:") or time.time() * 1000 - model.last_updated_timestamp > _OLD_MILLISECONDS


def _remove(client: MlflowClient, model: LoggedModel, say: Callable[[str], object]) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # Files first: killed in between, the next one finds the model again.
    try:
        get_artifact_repository(model.artifact_location).delete_artifacts()
    except (MlflowException, NotImplementedError) as error:
        say(f"files of a registration that died stay at {model.artifact_location}, remove them by hand: {error}")
    client.delete_logged_model(model.model_id)
    say(f"removed the logged model {model.model_id} ({model.status}), left by a registration of this bundle that died")
