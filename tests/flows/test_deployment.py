"""prefect.yaml on a real server with a real worker: runs that the *scheduler* and events create are executed.

With sqlalchemy 2.1 ad-hoc flows pass while the scheduler dies silently, and no client sees an error: so nothing here
asks for a run, it has to come by itself.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from importlib import import_module
from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.cli.deploy._triggers import _initialize_deployment_triggers
from prefect.client.schemas.objects import ConcurrencyLimitStrategy

from flows.events import DRIFT, PROMOTED, resource
from tests.flows.conftest import CLIENT, idiom_deploy

pytestmark = [pytest.mark.server, pytest.mark.slow]


NAMES = {"retrain-nightly", "retrain-on-drift", "score-daily", "backfill", "monitor-hourly"}


def state_of(server: Any) -> dict[str, Any]:
    """What is set up on a server, without ids and times of what is made anew by Prefect itself."""
    pick = ("name", "parameters", "tags", "concurrency_limit", "work_queue_name", "path", "entrypoint", "pull_steps")
    deployments = {each["id"]: {key: each[key] for key in pick} for each in server.post("/deployments/filter")}
    schedules = {each["id"]: len(each["schedules"]) for each in server.post("/deployments/filter")}
    queues = {each["name"]: each["concurrency_limit"] for each in server.post("/work_pools/idiom/queues/filter")}
    automations = sorted(each["name"] for each in server.post("/automations/filter"))
    return {"deployments": deployments, "schedules": schedules, "queues": queues, "automations": automations}


def test_what_runs_by_itself(deployed: Any, prefect_server: Any) -> None:
    """Prevents: a nightly training or scoring that never comes, drift and promotions that start nothing, deployments
    whose code the worker cannot import, and two trainings at once on one GPU.

    There is nobody to score in this workspace: the flow's own words prove that it ran.
    """
    drift = {"event": DRIFT, "resource": resource("idiom"), "payload": {"psi": 0.31, "column": "category"}}
    promoted = {"event": PROMOTED, "resource": resource("idiom"), "payload": {"version": "7"}}
    for event in (drift, promoted):
        made = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), **event}
        assert CLIENT.post(f"{prefect_server.api}/events", json=[made]).status_code == 204

    before = state_of(prefect_server)
    (deployed.root / "prefect.yaml").rename(deployed.root / "kept.yaml")
    document = yaml.safe_load((deployed.root / "kept.yaml").read_text())
    document["deployments"].append({**document["deployments"][1], "name": "of-before", "triggers": []})
    (deployed.root / "prefect.yaml").write_text(yaml.safe_dump(document))
    assert "deployment  of-before" in idiom_deploy(deployed.root, prefect_server)
    (deployed.root / "kept.yaml").replace(deployed.root / "prefect.yaml")
    said = idiom_deploy(deployed.root, prefect_server)
    assert "removed     of-before" in said and state_of(prefect_server) == before
    assert {each["name"] for each in before["deployments"].values()} == NAMES
    assert before["queues"] == {"default": None, "gpu": 1}
    assert len(before["automations"]) == 3 and set(before["schedules"].values()) == {0, 1, 2}

    names = {id: each["name"] for id, each in before["deployments"].items()}
    ended: dict[tuple[str, bool], dict[str, Any]] = {}
    query = {"deployments": {"id": {"any_": list(names)}}}
    wanted = {("retrain-nightly", True), ("retrain-on-drift", False), ("score-daily", True), ("score-daily", False)}

    def have_ended() -> bool:
        done = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
        for run in prefect_server.post("/flow_runs/filter", **query, flow_runs=done):
            ended[names[run["deployment_id"]], run["auto_scheduled"]] = run
        return wanted <= set(ended)

    prefect_server.wait_until(have_ended, seconds=600)
    log = (deployed.root / "worker.log").read_text()
    for name, by_schedule in (("retrain-nightly", True), ("retrain-on-drift", False)):
        assert ended[name, by_schedule]["state_type"] == "COMPLETED", log
    assert json.loads(ended["retrain-on-drift", False]["parameters"]["because"]) == drift["payload"]
    assert "there are no interactions yet" in ended["score-daily", True]["state"]["message"]
    assert deployed.out("register").is_file()
    # Of the night's two schedules one goes on from the champion, the other begins anew, as the deployment says.
    (nightly,) = (each for each in prefect_server.post("/deployments/filter") if each["name"] == "retrain-nightly")
    assert nightly["parameters"]["start"] == "scratch"
    assert {each["slug"]: each["parameters"] for each in nightly["schedules"]} == {
        "nightly": {"start": "champion-if-any"},
        "weekly": {},
    }
    assert ended["retrain-nightly", True]["parameters"]["start"] == "champion-if-any"
    assert ended["retrain-on-drift", False]["parameters"]["start"] == "scratch"
    begun = prefect_server.post("/flow_runs/filter", **query, flow_runs={"start_time": {"is_null_": False}})
    ran = [run for run in begun if run["work_queue_name"] == "gpu"]
    assert {names[run["deployment_id"]] for run in ran} >= {"retrain-nightly", "retrain-on-drift", "score-daily"}
    # A run that is cancelled because the one before is not over has a start, which is its end.
    spans = sorted(
        (run["start_time"], run["end_time"] or "9999") for run in ran if run["start_time"] != run["end_time"]
    )
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans


def test_prefect_yaml_is_what_prefects_own_schema_says(repository: Path) -> None:
    """Prevents: a key that Prefect ignores in silence (a limit, a schedule, a trigger mistyped)."""
    document = yaml.safe_load((repository / "prefect.yaml").read_text())
    model = PrefectYamlModel.model_validate(document)
    known = set(PrefectYamlModel.model_fields) | {"prefect-version"}
    assert set(document) <= known
    for raw, each in zip(document["deployments"], model.deployments, strict=True):
        assert set(raw) <= set(DeploymentConfig.model_fields), raw["name"]
        assert set(raw["work_pool"]) <= set(WorkPoolConfig.model_fields)
        assert set(raw["concurrency_limit"]) <= set(ConcurrencyLimitSpec.model_fields)
        assert raw["concurrency_limit"]["collision_strategy"] in [each.value for each in ConcurrencyLimitStrategy]
        for schedule in raw.get("schedules", []):
            RawScheduleConfig.model_validate(schedule)
        triggers = _initialize_deployment_triggers(str(each.name), copy.deepcopy(each.triggers or []))
        for trigger, given in zip(triggers, raw.get("triggers", []), strict=True):
            assert set(given) <= set(type(trigger).model_fields), raw["name"]
        place, _, function = str(each.entrypoint).rpartition(":")
        taken = signature(getattr(import_module(place.removesuffix(".py").replace("/", ".")), function).fn).parameters
        overriding = [*raw.get("triggers", []), *raw.get("schedules", [])]
        given_names = set(each.parameters) | {name for one in overriding for name in one.get("parameters", {})}
        assert given_names <= set(taken), f"{raw['name']}: the flow has no parameter {given_names - set(taken)}"
    assert {each.name for each in model.deployments} == NAMES
    told = (repository / "docs" / "operations.md").read_text()
    assert [name for name in NAMES if f"/{name}` |" not in told] == []
