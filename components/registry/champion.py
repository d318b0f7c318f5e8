"""Sets and reads the aliases `champion` and `challenger` of the registered model; loads the model behind one.

ask = champion()                                     # models:/NAME@champion of this workspace
ask([["P24242", "P36651"]], [5])[0]["titles"]
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import BadInput, first_line
from components.registry.answers import Answers
from components.registry.bundle import BUNDLE, bundle_sha256, verified
from components.registry.store import answering, behind_alias, connect, tracking_uri
from components.settings.file import load
from components.settings.params import Params
from components.storage.artifacts import publishing
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
DECISION = "idiom.promotion"
"""Tag of a version: what was decided on it."""
PROVISIONAL = "accepted for want of a champion, not served yet"
"""That decision by `register`: all rules that need neither a champion nor another process."""
IN_MODEL = Path("artifacts", "bundle")
"""Where the bundle lies in a model of MLflow."""


def set_alias(client: MlflowClient, name: str, version: str, *, fit: Callable[[], bool]) -> None:
    """Make a new version of model `name` the challenger, or its champion where there is none and it is `fit` to be one:
    none is promoted here."""
    if CHAMPION in client.get_registered_model(name).aliases or not fit():
        client.set_registered_model_alias(name, CHALLENGER, version)
        return
    client.set_model_version_tag(name, version, DECISION, PROVISIONAL)
    client.set_registered_model_alias(name, CHAMPION, version)


def champion(workspace: Path = Path(), *, alias: str = CHAMPION) -> Answers:
    """Load the model behind an alias, with the decoding settings that it was evaluated with.

    Call it with histories of item ids (oldest first) and the number of items wanted for each: one answer a history,
    a dict of `answers.FIELDS`. Raises `BadInput` where no version has the alias, or where a file of its bundle is not
    the one that was registered.
    """
    return Answers.of(champion_bundle(workspace, load(workspace / "params.yaml"), alias=alias))


def champion_bundle(workspace: Path, params: Params, *, alias: str = CHAMPION) -> Path:
    """Directory of the bundle behind an alias: its files are those of its manifest, and that is the registered one.

    The stage's own output is taken where it is the one that is registered; otherwise the bundle is fetched once and
    kept under work/bundles/. Raises `BadInput` where no version has the alias, or its bundle was exchanged.
    """
    return numbered_bundle(workspace, params, *behind(workspace, params, alias))


def behind(workspace: Path, params: Params, alias: str) -> tuple[str, str]:
    """(number, SHA-256 of the bundle) of the version behind an alias. Raises `BadInput` where there is none."""
    known = behind_alias(workspace, params.register.model_name, alias, BUNDLE)
    if known is not None:
        return known
    version, digest = _version(workspace, params, alias)
    return str(version.version), digest


def version_bundle(workspace: Path, params: Params, number: str) -> Path:
    """Directory of the bundle of a version, checked and kept as that of an alias is."""
    version = connect(workspace).get_model_version(params.register.model_name, number)
    return numbered_bundle(workspace, params, str(version.version), _digest(workspace, version))


def numbered_bundle(workspace: Path, params: Params, number: str, digest: str) -> Path:
    """Directory of the bundle with this digest, which is that of version `number`; checked, and kept once fetched."""
    own = Layout(workspace, params.dataset).bundle
    if (own / MANIFEST).is_file() and bundle_sha256(own) == digest:
        verified(own, digest)
        return own
    return _kept(workspace, params, number, digest)


def kept_bundle(workspace: Path, params: Params, name: str) -> tuple[Path, str]:
    """A copy of the bundle of a version (number or alias) that no stage replaces, and the number: work/bundles/SHA-256,
    made at once. Raises `BadInput` where there is no such version, or its bundle was exchanged."""
    from components.registry.comparable import find_version

    with answering(workspace):
        version = find_version(connect(workspace), params.register.model_name, name, workspace)
    number = str(version.version)
    return _kept(workspace, params, number, _digest(workspace, version)), number


def bundle_with(workspace: Path, params: Params, digest: str) -> Path:
    """The same of whichever version holds the bundle with this SHA-256. Raises `BadInput` where none does."""
    name = params.register.model_name
    with answering(workspace):
        found = connect(workspace).search_model_versions(f"name = '{name}' and tags.`{BUNDLE}` = '{digest}'")
    if not found:
        mend = "bring the folder work/bundles from the workspace in which it was used"
        raise BadInput(f"no version of {name!r} holds the bundle {digest}", where=tracking_uri(workspace), mend=mend)
    return _kept(workspace, params, str(found[0].version), digest)


def _kept(workspace: Path, params: Params, number: str, digest: str) -> Path:
    """work/bundles/DIGEST, copied from the stage's own output or fetched from MLflow if it is not there; checked."""
    kept, own = workspace / "work" / "bundles" / digest, Layout(workspace, params.dataset).bundle
    if not kept.is_dir():
        here = (own / MANIFEST).is_file() and bundle_sha256(own) == digest
        model = own if here else _fetched(workspace, params.register.model_name, number) / IN_MODEL
        with publishing(kept) as temporary:
            shutil.copytree(model, temporary)
            verified(temporary, digest)
    verified(kept, digest)
    return kept


def _version(workspace: Path, params: Params, alias: str) -> tuple[ModelVersion, str]:
    """The version behind an alias, and the SHA-256 of the bundle that was registered as it."""
    client, name = connect(workspace), params.register.model_name
    from mlflow.exceptions import MlflowException  # after `connect`, which makes it quiet

    with answering(workspace):
        try:
            version = client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise BadInput(
                f"no version of {name!r} has the alias {alias!r}",
                where=tracking_uri(workspace),
                mend="train and register a model first: idiom retrain; where one was refused, idiom promote says why",
            ) from error
    return version, _digest(workspace, version)


def _digest(workspace: Path, version: ModelVersion) -> str:
    """SHA-256 of the bundle that was registered as a version."""
    if BUNDLE not in version.tags:
        raise BadInput(
            f"{version.name} version {version.version} has no tag {BUNDLE}: nobody can tell what it should hold",
            where=tracking_uri(workspace),
            mend="name a version that `register` made, or give it the alias",
        )
    return str(version.tags[BUNDLE])


def _fetched(workspace: Path, name: str, number: str) -> Path:
    """MLflow's copy of a model: the one in its store where that is a folder of this machine, else downloaded."""
    connect(workspace)
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    uri = f"models:/{name}/{number}"
    try:
        model = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        mend = "bring the artifacts of the store back, or register the model again"
        raise BadInput(f"MLflow's copy of the model is not there: {first_line(error)}", where=uri, mend=mend) from error
    if not (model / IN_MODEL / MANIFEST).is_file():
        mend = "bring the artifacts of the store back, or register the model again"
        raise BadInput("MLflow's copy of the model holds no bundle", where=str(model), mend=mend)
    return model
