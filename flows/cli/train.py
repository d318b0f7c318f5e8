"""`idiom init`, `retrain`, `repro`, `ablate`, `backfill`: from raw files to trained models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.command import HERE, Workspace, command, repro_until, run_flow, say_summary, say_warnings


@command("Train")
def init(
    path: Annotated[Path, typer.Argument(help="Folder with the raw files.")],
    sample_users: Annotated[int, typer.Option(min=0, help="Keep this many users, for a first try (0: all).")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a link of the same name that points elsewhere.")
    ] = False,
    workspace: Workspace = HERE,
) -> None:
    """Look at your raw files, link them into data/raw/, write params.yaml for them."""
    from flows.initialise import initialise

    done = initialise(workspace, path, sample_users=sample_users, force=force)
    for line in done.lines:
        typer.echo(line)
    typer.echo("")
    if done.link:
        typer.echo(f"linked   {done.link} -> {path.resolve()}")
    typer.echo(f"written  {workspace / 'params.yaml'}" + (f" (the old one: {done.backup.name})" if done.backup else ""))
    typer.echo("next     idiom retrain (in Prefect) or idiom repro; idiom repro --stage validate only checks the data")


@command("Train")
def retrain(
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Go on from this version (champion, champion-if-any, a number), or begin anew (scratch); kept in "
            "params.yaml.",
            show_default=False,
        ),
    ] = None,
    workspace: Workspace = HERE,
) -> int:
    """The main job: the Prefect flow over all stages; then what came of it."""
    chosen = [*(["--force"] if force else []), *(["--from", start] if start else [])]
    if code := run_flow(str(workspace.resolve()), *chosen):
        return code
    say_summary(workspace)
    say_warnings(workspace)
    return 0


@command("Train")
def repro(
    stage: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
    workspace: Workspace = HERE,
) -> int:
    """The same graph by `dvc repro`, without Prefect; then what came of it."""
    return repro_until(workspace, stage, force=force)


@command("Train")
def ablate(
    grid: Annotated[
        Path | None, typer.Argument(help="Grid file (none: every switch of params.yaml, three seeds).")
    ] = None,
    on: Annotated[
        Literal["valid", "test"], typer.Option(help="What judges: a search on valid never opens the test set.")
    ] = "test",
    only: Annotated[list[str] | None, typer.Option(help="This variant alone; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Trainings at a time, one thread each (0: one per core).")] = 0,
    workspace: Workspace = HERE,
) -> int:
    """What each ingredient is worth: train variants over seeds, compare them; killed, it goes on where it was."""
    from flows.ablation.run import ablate as run

    return run(workspace, grid, on=on, only=only or (), jobs=jobs, say=typer.echo)


@command("Train")
def backfill(
    first: Annotated[str, typer.Option("--from", help="First past day, ISO date.")],
    last: Annotated[str, typer.Option("--to", help="Last day.")],
    every: Annotated[int, typer.Option(min=1, help="Days from one window to the next.")] = 30,
    jobs: Annotated[int, typer.Option(min=1, help="Windows at a time, one thread each.")] = 1,
    dask: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler whose workers see the same folders.", show_default=False),
    ] = None,
    workspace: Workspace = HERE,
) -> int:
    """Train and evaluate as if it were each of several past days; killed, it goes on where it was."""
    from components.settings.file import load
    from flows.backfill import backfill as run
    from flows.backfill import days_between
    from flows.when import moment

    days = days_between(moment(first, "--from").date(), moment(last, "--to").date(), every)
    return run(workspace, load(workspace / "params.yaml"), days, every=every, jobs=jobs, dask=dask, say=typer.echo)
