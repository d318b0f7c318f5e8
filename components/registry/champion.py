"""Sets and reads the aliases `champion` and `challenger` of the registered model; loads the model behind one.

ask = champion()                                     # models:/NAME@champion of this workspace
ask([["P24242", "P36651"]], [5])[0]["titles"]
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import BadInput
from components.registry.answers import Answers
from components.registry.bundle import BUNDLE, bundle_sha256, decoding_of, verified
from components.registry.store import behind_alias, connect, tracking_uri
from components.settings.file import load
from components.settings.params import Params
from components.storage.artifacts import publishing
from components.storage.layout import Layout

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"


def set_alias(client: MlflowClient, name: str, version: str) -> None:
    """Make a new version of model `name` its champion, or the challenger where it has a champion: none is promoted."""
    alias = CHALLENGER if CHAMPION in client.get_registered_model(name).aliases else CHAMPION
    client.set_registered_model_alias(name, alias, version)


def champion(workspace: Path = Path(), *, alias: str = CHAMPION) -> Answers:
    """Load the model behind an alias, with the decoding settings that it was evaluated with.

    Call it with histories of item ids (oldest first) and the number of items wanted for each: one answer a history,
    a dict of `answers.FIELDS`. Raises `BadInput` where no version has the alias, or where a file of its bundle is not
    the one that was registered.
    """
    from components.voices.load import load as load_recommender

    bundle = champion_bundle(workspace, load(workspace / "params.yaml"), alias=alias)
    return Answers(load_recommender(bundle), decoding_of(bundle))


def champion_bundle(workspace: Path, params: Params, *, alias: str = CHAMPION) -> Path:
    """Directory of the bundle behind an alias, its manifest checked.

    The stage's own output is taken where it is the one that is registered; otherwise the bundle is fetched once and
    kept under work/bundles/. Raises `BadInput` where no version has the alias.
    """
    name = params.register.model_name
    version, digest = behind_alias(workspace, name, alias, BUNDLE) or _asked(workspace, name, alias)
    own = Layout(workspace, params.dataset).bundle
    if (own / "manifest.json").is_file() and bundle_sha256(own) == digest:
        verified(own)
        return own
    kept = workspace / "work" / "bundles" / digest
    if not kept.is_dir():
        _fetch(workspace, f"models:/{name}/{version}", kept)
    verified(kept)
    return kept


def _asked(workspace: Path, name: str, alias: str) -> tuple[str, str]:
    """Version and digest of the bundle behind an alias, as MLflow says. Raises `BadInput` where there is none."""
    client = connect(workspace)
    from mlflow.exceptions import MlflowException  # after `connect`, which makes it quiet

    try:
        version = client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        raise BadInput(
            f"no version of {name!r} has the alias {alias!r}",
            where=tracking_uri(workspace),
            mend="train and register a model first: idiom retrain",
        ) from error
    return str(version.version), version.tags[BUNDLE]


def _fetch(workspace: Path, model_uri: str, directory: Path) -> None:
    connect(workspace)
    import mlflow.artifacts

    model = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri))
    with publishing(directory) as temporary:
        shutil.copytree(model / "artifacts" / "bundle", temporary)
