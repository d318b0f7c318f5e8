"""Registers a bundle that takes in new items (extension.py) as a version of the model, beside the one that it extends.

    version = register_extension(workspace, params, bundle, of="4", results=folder, history=["B001"], added=3)

It becomes the challenger, as every new version: `idiom promote` decides, by a margin of its own (promote.added_margin),
since such a version is as good as the one that it extends and not better.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.errors import BadInput
from components.registry.bundle import BUNDLE, bundle_sha256
from components.registry.champion import CHAMPION
from components.registry.comparable import log_kept, tags_of
from components.registry.log import log_model
from components.registry.published import find
from components.registry.register import store_lock
from components.registry.store import answering, connect, experiment_id, tracking_uri
from components.registry.tracking import NOTE
from components.settings.params import Params
from components.storage.layout import Layout

EXTENDS = "idiom.extends"
"""Tag of a version: the version whose model it is, with more items."""
_INHERITED = (
    "idiom.protocol",
    "idiom.dataset",
    "idiom.git_commit",
    "idiom.git_dirty",
    "idiom.dvc_lock",
    "idiom.validation",
)


def register_extension(
    workspace: Path, params: Params, bundle: Path, *, of: str, results: Path, history: Sequence[str], added: int
) -> str:
    """The number of the version that holds `bundle`; one that is registered already is found again.

    of: the version that it extends. results: what `kept_of` wrote, by which it is judged. Raises `BadInput` for a store
    that does not answer, or where another version is champion by now: its items would be lost.
    """
    import mlflow

    layout, name = Layout(workspace, params.dataset), params.register.model_name
    with answering(workspace):
        client = connect(workspace)
        digest = bundle_sha256(bundle)
        with store_lock(tracking_uri(workspace)):
            if (there := find(client, name, digest)) is not None:
                return str(there.version)
            now = str(client.get_model_version_by_alias(name, CHAMPION).version)
            if now != of:
                mend = "run it again, so that the items are added to the champion that there is"
                raise BadInput(f"the champion is version {now} by now, not {of}", where=f"model {name!r}", mend=mend)
            before = client.get_model_version(name, of)
            inherited = {key: value for key, value in tags_of(client, before).items() if key in _INHERITED}
            tags = {**inherited, BUNDLE: digest, EXTENDS: of}
            said = f"Version {of}, items added: {added:,}. IDs by its own generator, nothing learned again."
            experiment = experiment_id(client, workspace, params.register.experiment or params.dataset)
            run = client.create_run(
                experiment,
                run_name=f"{params.dataset}: items added to version {of}: {added:,}",
                tags={NOTE: said, **tags},
            )
            with mlflow.start_run(run_id=run.info.run_id):
                log_kept(client, run.info.run_id, results, bundle)
                model_id = log_model(params, layout, bundle, tags, history)
            made = client.create_model_version(
                name, f"models:/{model_id}", run.info.run_id, tags=tags, description=said, model_id=model_id
            )
            client.set_registered_model_alias(name, "challenger", made.version)
    return str(made.version)
