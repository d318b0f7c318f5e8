"""What all commands share: the application, how a command is registered, how a flow is run, what is said in the end.

Typer alone is imported at the top; a command imports the rest inside.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(
    help="The production pipeline for generative recommendation with textual item IDs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Workspace = Annotated[Path, typer.Option("--workspace", "-w", help="Folder with params.yaml and dvc.yaml.")]
HERE = Path()
WhoAnswers = Annotated[
    Literal["generate", "rank", "hybrid"] | None,
    typer.Option(help="Who answers: the language model, the ranker, or both (default: as the bundle says)."),
]


def _say_version(wanted: bool) -> None:
    if wanted:
        from components import __version__

        typer.echo(f"idiom {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and end.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """What all commands share."""


Command = Callable[..., int | None]


def command(heading: str | None, *, of: typer.Typer = app) -> Callable[[Command], Command]:
    """Register a command under a heading of `idiom --help`: the environment first, and an error that a person can mend
    without a traceback."""

    def registered(function: Command) -> Command:
        @of.command(rich_help_panel=heading)
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            from components.errors import StageError
            from components.machine import refused_by_the_machine
            from flows.environment import prepare

            workspace = arguments.get("workspace", HERE)
            prepare(workspace)
            try:
                code = function(**arguments)
            except Exception as error:
                said = error if isinstance(error, StageError) else refused_by_the_machine(error, workspace.resolve())
                if said is None:
                    raise
                typer.echo(f"error: {said}", err=True)
                raise typer.Exit(said.exit_code) from None
            raise typer.Exit(code or 0)

        return function

    return registered


def run_flow(*arguments: str) -> int:
    """Run a flow (flows/__main__.py) in a session of its own: on Ctrl-C what runs saves its state, the flow reports it,
    the server ends last. If this process is killed, they end likewise. Returns the exit code."""
    from components.processes.child import run_to_end

    line = [sys.executable, "-m", "flows", *arguments]
    return run_to_end(line, cwd=Path(__file__).resolve().parents[2])


def repro_until(workspace: Path, stage: str | None, *, force: bool = False) -> int:
    """Run `dvc repro` up to a stage (None: all), say what came of it, return the exit code."""
    from flows.repro import reproduce_all

    outcome = reproduce_all(workspace, stage, force=force)
    if outcome.message:
        typer.echo(f"error: {outcome.message}", err=True)
    if outcome.exit_code:
        return outcome.exit_code
    if not stage:
        say_summary(workspace)
    say_warnings(workspace, but=outcome.output if stage else "")
    return 0


def say_summary(workspace: Path) -> None:
    """The figures of the model that lies here."""
    from components.settings.file import load
    from flows.results import summary

    typer.echo("\n" + summary(workspace.resolve(), load(workspace / "params.yaml")))


def say_warnings(workspace: Path, *, but: str = "") -> None:
    """What the stages warned of, also those that DVC found unchanged; lines of `but` were said already."""
    from components.settings.file import load
    from components.stages import data_warnings

    for line in data_warnings(workspace.resolve(), load(workspace / "params.yaml")):
        if line not in but:
            warn(line)


def warn(words: str) -> None:
    """A line on stderr."""
    typer.echo(f"warning  {words}", err=True)
