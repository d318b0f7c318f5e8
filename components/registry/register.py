"""Registers the bundle as a version of the model in MLflow, with everything that a reviewer asks for beside it.

The same bundle is never registered twice: its SHA-256 is a tag of the version, and a second call finds that version.
A version gets the alias `challenger`; where there is no champion and it keeps the rules that need none, it is
`champion` until `idiom promote` or the flow has served it too. Nothing is promoted here.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation import adaptation
from components.evaluation.comparison.alone import alone
from components.evaluation.comparison.sides import read
from components.evaluation.contenders import HEADLINE
from components.evaluation.gates import Decision, decide
from components.progress import Progress
from components.registry import lineage, origin
from components.registry.abandoned import remove_abandoned
from components.registry.bundle import BUNDLE, assemble, bundle_sha256
from components.registry.champion import set_alias
from components.registry.comparable import log_comparable
from components.registry.cost import TAG as COST_TAG
from components.registry.cost import log_cost
from components.registry.evidence import of_bundle
from components.registry.log import log_curve, log_model, log_results, metric_values
from components.registry.model_card import TAUGHT_BY, publish_card
from components.registry.names import ANSWER, cut
from components.registry.pages import publish_pages
from components.registry.patience import patient
from components.registry.published import find
from components.registry.store import answering, connect, experiment_id, tracking_uri
from components.registry.tracking import describe, run_for
from components.registry.view import publish_view
from components.settings.params import Params
from components.storage.artifacts import publish_json, read_json
from components.storage.layout import Layout
from components.storage.lock import locked, users_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def register(
    params: Params,
    layout: Layout,
    *,
    description: str = "",
    card: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Assemble the bundle, register it unless it is registered already, publish and return the registration.

    description: Markdown on the results, shown as the description of run and version. card: what the evaluation says
    for the model card; without it there is none. The registration holds no run
    id, clock or path, so two fresh workspaces with the same inputs publish the same bytes.
    Raises `BadInput` for artifacts that do not fit together, or a store that does not answer for
    `params.register.wait_seconds`.
    """
    progress, description = progress or Progress(), cut(description)
    metrics = read_json(layout.metrics)
    lineage.verdict_of(layout.verdict)  # before anything is written: it may be broken
    with patient(params.register.wait_seconds), answering(layout.workspace):
        client = connect(layout.workspace)
        name = params.register.model_name
        bundle = assemble(layout, params)
        digest = bundle_sha256(bundle)

        def fit() -> bool:
            if params.promote.approval_hours is not None:
                progress.note("there is no champion, and a reviewer has to approve this version: idiom promote")
                return False
            decision = without_champion(params, layout, bundle)
            for reason in decision.refusals:
                progress.note(f"there is no champion, and this version is not fit to be one: {reason.text}")
            return decision.accepted

        with store_lock(tracking_uri(layout.workspace)):
            version = find(client, name, digest)
            experiment = experiment_id(client, layout.workspace, params.register.experiment or params.dataset)
            remove_abandoned(client, layout.workspace, experiment, digest, progress.note)
            if version is not None:
                version = _with_alias(client, version, fit)
                progress.note(f"this bundle is {name} version {version.version} already", version=int(version.version))
                if adaptation.read(layout.curve, layout.metrics):  # it may have been taken since
                    log_curve(client, str(version.run_id), layout)
                    log_comparable(client, str(version.run_id), layout, bundle)
            else:
                version = _new_version(client, params, layout, bundle, metrics, description, fit)
                progress.note(f"registered {name} version {version.version}", version=int(version.version))
            publish_pages(client, layout, version)
            if card is not None:
                publish_card(client, layout, version, card)
    registration = {
        "name": name,
        "version": int(version.version),
        "aliases": sorted(version.aliases),
        "bundle_sha256": digest,
        "headline": headline(metrics),
    }
    publish_json(layout.registration, registration)
    return registration


def without_champion(params: Params, layout: Layout, bundle: Path) -> Decision:
    """What the rules of `promote:` that need no champion say of the evaluation and the bundle that lie here. The
    contract of the ID table was asked by `evaluate`."""
    side = read(layout.root, name="this version")
    metric = f"{params.promote.metric}_at_{side.protocol['headline_k']}"
    of = of_bundle(bundle, None, metric=metric, contract=False)
    drop_repeats = params.clean.drop_repeats
    found = alone(side, metric=params.promote.metric, seed=params.seed, drop_repeats=drop_repeats, **of)
    return decide(replace(params.promote, max_latency_ms=None, max_memory_mb=None), found)


def _with_alias(client: MlflowClient, version: ModelVersion, fit: Callable[[], bool]) -> ModelVersion:
    """The version, with the alias that it lacks where it is the only one: a registration died before it set one."""
    model = client.get_registered_model(version.name)
    if model.aliases or len(client.search_model_versions(f"name = '{version.name}'", max_results=2)) > 1:
        return version
    set_alias(client, version.name, version.version, fit=fit)
    return client.get_model_version(version.name, version.version)


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Recall and NDCG at the headline cut-off, the model's and the baselines', and the protocol they belong to."""
    protocol = metrics["protocol"]
    variant, k = protocol["headline"], protocol["headline_k"]
    return {
        "protocol": f"{protocol['training']}, {variant}, ties: {protocol['ties']}",
        **{
            f"{who}/{metric}_at_{k}": values[f"{metric}_at_{k}"]
            for who, values in metrics[variant].items()
            for metric in HEADLINE
        },
    }


def _new_version(
    client: MlflowClient,
    params: Params,
    layout: Layout,
    bundle: Path,
    metrics: Mapping[str, Any],
    description: str,
    fit: Callable[[], bool],
) -> ModelVersion:
    import mlflow
    from mlflow.exceptions import MlflowException

    name, digest = params.register.model_name, bundle_sha256(bundle)
    pair = read_json(bundle / "pair.json")
    run_id, _ = run_for(client, layout.workspace, params, pair["train_key"])
    protocol = headline(metrics)["protocol"]
    tags = {
        BUNDLE: digest,
        "idiom.protocol": protocol,
        **lineage.short(layout),
        **_start(client, name, layout.dataset, pair),
    }
    with mlflow.start_run(run_id=run_id):
        describe(client, run_id, layout, params)
        log_results(client, run_id, layout, bundle, description)
        origin.keep(client, run_id, layout, bundle)
        if cost := log_cost(client, run_id, layout):
            tags[COST_TAG] = cost
        model_id = log_model(params, layout, bundle, tags)
        # Into the run and, linked, onto the logged model's own page.
        values = metric_values(metrics)
        mlflow.log_metrics(values, model_id=model_id)
        mlflow.set_tags({BUNDLE: digest, "idiom.protocol": protocol})
    experiment = client.get_run(run_id).info.experiment_id
    publish_view(client, experiment, [key for key in values if key.startswith(f"{ANSWER}/")])
    try:
        client.create_registered_model(
            name,
            tags={"idiom.dataset": layout.dataset},
            description="Generative recommender that speaks in textual IDs. `champion` is what is served; a newer "
            "version is `challenger` until it is promoted.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name, f"models:/{model_id}", run_id, tags=tags, description=description, model_id=model_id
    )
    # What mlflow.register_model does as well; the logged model's page then links to the version.
    client.set_logged_model_tags(
        model_id, {"mlflow.modelVersions": json.dumps([{"name": name, "version": made.version}])}
    )
    set_alias(client, name, made.version, fit=fit)
    return client.get_model_version(name, made.version)


def _start(client: MlflowClient, name: str, dataset: str, pair: Mapping[str, Any]) -> dict[str, str]:
    """Tags that say which version a training went on from, if it did, and which catalogues taught the model, where
    there are several."""
    start = pair.get("start") or {}
    taught = [*start.get("taught_by", []), *(pair.get("catalogues") or ([dataset] if start.get("taught_by") else []))]
    tags = {TAUGHT_BY: ", ".join(dict.fromkeys(taught))} if taught else {}
    if not start:
        return tags
    digest = str(start["sha256"])
    before = find(client, name, digest) or find(client, None, digest)
    said = ""
    if before:
        said = f"{'' if before.name == name else f'{before.name} '}version {before.version}, "
    return {"idiom.start": f"{said}bundle {digest[:16]}", **tags}


def store_lock(uri: str) -> AbstractContextManager[int]:
    """Lets one process of this machine register in the store at a time: it looks first and then writes.

    Machines that share a server need a limit there as well (the flow's concurrency limit); the worst case without is
    a second version of the same bundle, which is found by its tag.
    """
    name = f"register-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
    return locked(users_lock(Path(tempfile.gettempdir()), name))
