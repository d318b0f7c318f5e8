"""The training flow on Prefect: one task for each stage of dvc.yaml, run through DVC.

    idiom retrain                # what a person types
    python -m flows WORKSPACE    # the same without the summary; ends with the stage's exit code

DVC decides what has to run; Prefect adds schedules, retries after faults of the machine, live progress and results.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.states import Cancelled, Completed, Failed, State

from components.catalogues import remove_gone
from components.console import Console
from components.errors import BadInput, StageError
from components.machine import refused_by_the_machine
from components.processes.child import handing_on
from components.progress import Follower
from components.registry.store import refuse_unfit
from components.settings.file import load
from components.settings.params import Params
from flows import graph
from flows.dead_runs import tell_of_the_dead
from flows.decide import decide
from flows.events import tell_of_the_first
from flows.holding import Busy, replaces_what_scoring_reads, replacing, retraining
from flows.prefect_artifacts import ProgressArtifact, publish_result
from flows.push import push_outputs
from flows.repro import EXIT_CODES, UNCHANGED, WORTH_ANOTHER_TRY, Outcome, reproduce
from flows.run_names import of_the_day
from flows.start import start_from
from flows.time_limit import time_limit
from flows.unchanged import cached_stages

_RETRIES = 2
_RETRY_SECONDS = [10.0, 60.0]
_AT_A_TIME = max(2, os.cpu_count() or 1)
"""Stages of several catalogues, each a process that a thread looks after."""


def another_try(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
    """Whether Prefect should retry a stage: after a fault of the machine alone, as all else would come again."""
    return state.name in WORTH_ANOTHER_TRY


@task(
    task_run_name="{stage}",
    retries=_RETRIES,
    retry_delay_seconds=_RETRY_SECONDS,
    retry_condition_fn=another_try,
    cache_policy=NO_CACHE,  # DVC decides what is unchanged, by content
    persist_result=False,
    result_serializer="json",
)
def run_stage(
    stage: str, workspace: str, force: bool = False, cached: bool = False, beside: bool = False
) -> State[Any]:
    """Run one stage through DVC. The state's name says how it ended (flows/repro.py), its message what to do.

    cached: DVC was asked already, and would skip it. beside: others run side by side with it.
    """
    if cached:
        return as_state(Outcome(stage, "Cached", 0.0, UNCHANGED))
    logger = get_run_logger()
    folder = Path(workspace)
    path = folder / "work" / "progress" / f"{stage}.jsonl"
    bar, artifact, follower = Console(), ProgressArtifact(stage, logger.warning), Follower(path)
    live = sys.stderr.isatty() and not beside

    def on_tick() -> None:
        for event in follower.new():
            artifact.emit(event["event"], event)
            if live and event["event"] != "note":  # notes come as lines of the stage's output already
                bar.emit("progress", event)
        artifact.update()

    def on_line(line: str) -> None:
        if live:
            sys.stderr.write("\r\x1b[K")  # the bar's line makes room
        logger.info(line)

    how = {"force": force, "bars": not live, "beside": beside}
    outcome = reproduce(stage, folder, progress_file=path, on_line=on_line, on_tick=on_tick, **how)
    state = as_state(outcome)
    artifact.close()
    if state.is_completed():
        artifact.complete()
    else:
        logger.error(outcome.message)
    return state


def as_state(outcome: Outcome) -> State[Any]:
    """The Prefect state of an outcome: Completed (or *Cached*), Cancelled when interrupted, else Failed."""
    message = outcome.message or f"{outcome.stage}: done in {outcome.seconds:.1f} s"
    if outcome.ending in ("Completed", "Cached"):
        return Completed(name=outcome.ending, message=message)
    if outcome.ending == "Interrupted":
        return Cancelled(name=outcome.ending, message=message)
    return Failed(name=outcome.ending, message=message)


@flow(
    name="retrain",
    flow_run_name=of_the_day,
    persist_result=False,
    result_serializer="json",
    validate_parameters=True,
)
def retrain(
    workspace: str = ".",
    force: bool = False,
    push: bool = False,
    limit_hours: float | None = None,
    because: str | None = None,
    start: str | None = None,
) -> State[Any]:
    """Run every stage of the workspace's graph in order; stop at the first that does not complete.

    workspace: folder with params.yaml and dvc.yaml (a clone of this repository). force: run the stages even if DVC
    finds nothing changed. push: push what came of it to DVC's default remote, where there is one. limit_hours: then
    the stage that runs saves its checkpoint and the run ends as *TimedOut*. because: why it runs, for the record.
    start: the version that the training goes on from (`champion`, `champion-if-any`, or a number), or `scratch`; it is
    written into params.yaml, which says it where none is given.
    """
    logger = get_run_logger()
    try:
        folder = checked(workspace)
        stages = graph.read(folder)
        load(folder / "params.yaml")
        if because:
            logger.info(f"because: {because}")
        with retraining(folder), time_limit(limit_hours) as limit:
            tell_of_the_dead("retrain", folder)
            if start is not None:
                logger.info(start_from(folder, start))
            state = _run(folder, load(folder / "params.yaml"), stages, force, push)
        return Failed(name="TimedOut", message=limit.words) if limit.reached and not state.is_completed() else state
    except Exception as error:
        said = error if isinstance(error, StageError) else refused_by_the_machine(error, Path(workspace).resolve())
        if said is None:
            raise
        logger.error(str(said))
        return Failed(name="Busy" if isinstance(said, Busy) else "BadInput", message=str(said))


def _run(folder: Path, params: Params, stages: list[graph.Stage], force: bool, push: bool) -> State[Any]:
    logger = get_run_logger()
    states: dict[str, State[Any]] = {}
    if removed := remove_gone(folder, params):
        logger.info(f"no longer a catalogue of this model: {', '.join(removed)}")
    skipped = frozenset[str]() if force else cached_stages(folder, stages)
    for wave in graph.waves(stages, until="train", most=_AT_A_TIME):
        if len(wave) > 1:
            states |= _run_side_by_side(wave, folder, params, states, force=force, skipped=skipped)
        else:
            (stage,) = wave
            upstream = [states[name] for name in stage.upstream]
            state = _run_alone(stage, folder, params, upstream, force=force, cached=stage.name in skipped)
            if stage.name == "register" and state.name == "Cached" and (gone := _missing_version(folder, params)):
                logger.warning(f"{gone} is not in MLflow: registering it")
                state = _run_alone(stage, folder, params, upstream, force=True)
            states[stage.name] = state
        for state in (states[stage.name] for stage in wave):
            if not state.is_completed():
                kind = Cancelled if state.is_cancelled() else Failed
                return kind(name=state.name, message=state.message)
    if states.get("register") and states["register"].name != "Cached":
        tell_of_the_first(folder, params, logger.warning)
    decided = decide(folder, params)
    warnings = _publish(folder, params)
    if push and (pushed := push_outputs(str(folder), return_state=True)) and not pushed.is_completed():
        return Failed(name=pushed.name, message=pushed.message)
    cached = sum(state.name == "Cached" for state in states.values())
    said = f"; {len(warnings)} warnings: {'; '.join(warnings)}" if warnings else ""
    promoted = f"; {decided}" if decided else ""
    return Completed(message=f"{len(states)} stages, {cached} of them cached{promoted}{said}")


def _run_alone(
    stage: graph.Stage, folder: Path, params: Params, upstream: list[State[Any]], *, force: bool, cached: bool = False
) -> State[Any]:
    """Run a stage as a task; while it replaces what a scoring reads, none runs."""
    waits = not cached and replaces_what_scoring_reads(stage, folder, params)
    with replacing(folder, get_run_logger().info) if waits else nullcontext():
        return run_stage(stage.name, str(folder), force, cached, return_state=True, wait_for=upstream)


def _run_side_by_side(
    wave: list[graph.Stage],
    folder: Path,
    params: Params,
    states: Mapping[str, State[Any]],
    *,
    force: bool,
    skipped: frozenset[str],
) -> dict[str, State[Any]]:
    """Run the stages of several catalogues as tasks at a time; a signal reaches all of them."""
    waits = any(stage.name not in skipped and replaces_what_scoring_reads(stage, folder, params) for stage in wave)
    with replacing(folder, get_run_logger().info) if waits else nullcontext(), handing_on():
        futures = {
            stage.name: run_stage.submit(
                stage.name,
                str(folder),
                force,
                stage.name in skipped,
                beside=True,
                return_state=False,
                wait_for=[states[name] for name in stage.upstream],
            )
            for stage in wave
        }
        for future in futures.values():
            future.wait()
    return {name: future.state for name, future in futures.items()}


def _missing_version(folder: Path, params: Params) -> str | None:
    """A model that DVC takes for registered and MLflow lacks; a store that is silent is left to the next run."""
    from components.registry.published import missing_version

    try:
        return missing_version(folder, params)
    except StageError as error:
        get_run_logger().warning(str(error))
        return None


def checked(workspace: str) -> Path:
    """The workspace as an absolute path. Raises `BadInput` for a folder that is none, or whose store is unfit."""
    folder = Path(workspace).resolve()
    for name in ("params.yaml", "dvc.yaml", ".dvc"):
        if not (folder / name).exists():
            raise BadInput(
                f"not a workspace: there is no {name}",
                where=str(folder),
                mend="name a clone of the repository; the flow's parameter `workspace` is relative to where it runs",
            )
    refuse_unfit(folder)
    return folder


def _publish(folder: Path, params: Params) -> list[str]:
    """Publish what came of it; returns what was warned of, which is logged too."""
    from components.stages import data_warnings
    from flows.results import links, table, words

    logger = get_run_logger()
    warnings = data_warnings(folder, params)
    for line in warnings:
        logger.warning(line)
    publish_result(table(folder, params), words(folder, params), links(folder, params), logger.warning, warnings)
    return warnings


def exit_code(state: State[Any]) -> int:
    """Exit code of a person's command for the state of the flow."""
    return EXIT_CODES.get(state.name or "", 0 if state.is_completed() else 1)
