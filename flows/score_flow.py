"""The scoring flow on Prefect: recommendations for all users, with schedule, retries and progress.

    idiom score --prefect                           # what a person types; --on dask is always one
    prefect deployment run score/score-daily        # what a schedule does

One task holds it together. On Dask each shard is a task too, done by `prefect-dask` (flows/dask_team.py). What is done
is what lies in the folder of the scoring, whatever Prefect remembers: any run goes on there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed, State

from components.console import Console
from components.errors import StageError
from components.machine import refused_by_the_machine
from components.processes.cost import Meter
from components.settings.file import load
from components.settings.params import Params
from flows.dead_runs import tell_of_the_dead
from flows.holding import alone, reading
from flows.prefect_artifacts import ProgressArtifact, publish_scores
from flows.repro import EXIT_CODES, Ending, Outcome
from flows.retrain import another_try, as_state, checked
from flows.run_names import of_the_day
from flows.score import in_words, run, scoring_of, team_of
from flows.time_limit import time_limit

_ENDINGS: dict[int, Ending] = {
    EXIT_CODES["BadInput"]: "BadInput",
    EXIT_CODES["Refused"]: "Refused",
    EXIT_CODES["Interrupted"]: "Interrupted",
    StageError.exit_code: "Killed",  # a worker died
}


@flow(name="score", flow_run_name=of_the_day, persist_result=False, result_serializer="json")
def score(
    workspace: str = ".",
    histories: str | None = None,
    out: str | None = None,
    bundle: str | None = None,
    k: int = 10,
    workers: int = 0,
    threads: int = 1,
    shard_users: int = 2048,
    device: str = "auto",
    mode: str | None = None,
    team: str = "processes",
    dask: str | None = None,
    limit_hours: float | None = None,
) -> State[Any]:
    """Score all users (of the data, or of a file of histories) with the champion; publish the scores at once.

    Paths are relative to the workspace. team: processes, torchrun or dask (`--on` of the command; a bare `on` in YAML
    means true); dask: address of a scheduler. limit_hours: then it ends as *TimedOut*, and the next one goes on. The
    others are those of `idiom score --help`.
    """
    settings = {"k": k, "threads": threads, "shard_users": shard_users, "device": device, "mode": mode}
    places = {"histories": histories, "out": out, "bundle": bundle}
    with time_limit(limit_hours) as limit:
        state = score_users(workspace, places, settings, workers, team, dask, return_state=True)
    if limit.reached and not state.is_completed():
        return Failed(name="TimedOut", message=limit.words)
    return State(type=state.type, name=state.name, message=state.message)


@task(
    task_run_name="all users",
    retries=2,
    retry_delay_seconds=[10.0, 60.0],
    retry_condition_fn=another_try,
    cache_policy=NO_CACHE,  # the key of the scoring decides what is done, by content
    persist_result=False,
    result_serializer="json",
)
def score_users(
    workspace: str,
    places: dict[str, str | None],
    settings: dict[str, Any],
    workers: int,
    team: str,
    dask: str | None,
) -> State[Any]:
    """Score what is not scored yet. The state's name says how it ended, as that of a stage (flows/repro.py)."""
    logger = get_run_logger()
    started = time.monotonic()
    artifact = ProgressArtifact("score", logger.warning)
    try:
        folder = checked(workspace)
        if alone(folder):  # no scoring lives here, so one that Prefect believes to run was killed
            tell_of_the_dead("score", folder)
        histories, out, bundle = (folder / place if place else None for place in places.values())
        chosen = team_of(team, dask)
        with reading(folder, logger.info):
            meter, params = Meter(), load(folder / "params.yaml")
            scoring = scoring_of(folder, params, histories, out, bundle=bundle, settings=settings)
            done = run(scoring, chosen, workers, [Console(), artifact])
        if done.users and not bundle and team != "dask":  # whose workers are on other machines
            _log_cost(folder, params, done.users, meter.figures(), logger.warning)
    except Exception as error:
        said = error if isinstance(error, StageError) else refused_by_the_machine(error, Path(workspace).resolve())
        if said is None:
            raise
        logger.error(str(said))
        return as_state(Outcome("score", _ENDINGS[said.exit_code], time.monotonic() - started, str(said)))
    message = in_words(done, scoring)
    logger.info(message)
    artifact.complete()
    publish_scores(message, logger.warning)
    return as_state(Outcome("score", "Completed" if done.users else "Cached", done.seconds, message))


def _log_cost(
    folder: Path, params: Params, users: int, figures: Mapping[str, float], warn: Callable[[str], object]
) -> None:
    """Log what it cost to the champion's run; a store that is silent costs no scores."""
    from components.registry.cost import log_scored
    from components.registry.store import answering, connect

    try:
        with answering(folder):
            client = connect(folder)
            version = client.get_model_version_by_alias(params.register.model_name, "champion")
            log_scored(client, str(version.run_id), users, figures)
    except StageError as error:
        warn(f"the cost of this scoring is not in MLflow: {error}")
