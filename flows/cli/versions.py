"""`idiom compare`, `promote`, `rollback`, `lineage`, `reproduce`: registered versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command import HERE, Workspace, command, warn

if TYPE_CHECKING:
    from components.settings.params import Params


@command("Versions")
def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: version number, alias, run id, folder of artifacts, or contender (model, item_graph); "
            "SIDE:item_graph is the baseline beside it. The first is the reference.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The page to write (default: in artifacts/DATASET/compare).")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Users that can be looked up in the page.")] = 500,
    workspace: Workspace = HERE,
) -> None:
    """Is B better than A, where, and can it be trusted? One page that opens offline."""
    from components.settings.file import load
    from flows.compare import compare_sides
    from flows.servers import mlflow_address

    done = compare_sides(workspace, load(workspace / "params.yaml"), sides, out, sample=sample)
    typer.echo(done.sentence)
    typer.echo(done.figures)
    typer.echo(f"page     {done.page}")
    if done.shown:
        typer.echo(f"mlflow   {mlflow_address()}/{done.shown}")


@command("Versions")
def promote(
    version: Annotated[
        str | None,
        typer.Argument(help="Version or alias of the registered model (none: the challenger).", show_default=False),
    ] = None,
    require: Annotated[bool, typer.Option("--require", help="End with exit code 3 where it is refused.")] = False,
    propose: Annotated[
        bool, typer.Option("--propose", help="What is accepted waits for a person and stays the challenger.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who approved it, for the record.", show_default=False)] = None,
    workspace: Workspace = HERE,
) -> int:
    """Make a version champion if the rules of `promote:` in params.yaml allow it; say why or why not."""
    from components.settings.file import load
    from flows.promote import promote as run
    from flows.servers import mlflow_address

    params = load(workspace / "params.yaml")
    done = run(workspace, params, version, propose=propose, by=by)
    before = f"; the champion was version {done.champion}" if done.champion else ""
    typer.echo(f"version {done.version} {done.verb}{before}")
    if done.verb == "is promoted":
        _tell_of_the_champion(params, done.version)
    for reason in done.decision.reasons:
        typer.echo(f"  {'passed ' if reason.passed else 'REFUSED'}  {reason.text}")
    if done.page:
        typer.echo(f"page     {done.page}")
        typer.echo(f"mlflow   {mlflow_address()}/{done.shown}")
    return 3 if require and not done.decision.accepted else 0


@command("Versions")
def rollback(
    version: Annotated[
        str | None,
        typer.Argument(help="Version or alias to go back to (none: the champion before).", show_default=False),
    ] = None,
    why: Annotated[str, typer.Option(help="For the record in MLflow.")] = "",
    workspace: Workspace = HERE,
) -> None:
    """Make an earlier version champion again, at once, after it was loaded and asked."""
    from components.settings.file import load
    from flows.promote import roll_back

    params = load(workspace / "params.yaml")
    old, new = roll_back(workspace, params, version, why=why)
    back = f"version {old} -> version {new}; idiom rollback goes back again" if old else f"none -> version {new}"
    typer.echo(f"champion: {back}")
    _tell_of_the_champion(params, new)


@command("Versions")
def lineage(
    version: Annotated[str, typer.Argument(help="Version or alias of the registered model.")] = "champion",
    workspace: Workspace = HERE,
) -> None:
    """Where a version came from: commit, settings, data, verdict, run."""
    from components.registry.origin import origin_of
    from components.settings.file import load
    from flows.reproduce import lineage_lines

    for line in lineage_lines(origin_of(workspace, load(workspace / "params.yaml"), version)):
        typer.echo(line)


@command("Versions")
def reproduce(
    version: Annotated[str, typer.Argument(help="Version or alias of the registered model.")] = "champion",
    into: Annotated[
        Path | None, typer.Option(help="New folder for it (none: work/reproduced/VERSION).", show_default=False)
    ] = None,
    workspace: Workspace = HERE,
) -> int:
    """Make a version again from its commit, settings and data, in a folder of its own; compare every byte."""
    from components.settings.file import load
    from flows.reproduce import reproduce as run

    done = run(workspace, load(workspace / "params.yaml"), version, into, typer.echo)
    typer.echo(f"written  {done.folder}")
    outputs = len(done.equal) + len(done.other)
    typer.echo(f"equal    {len(done.equal)} of {outputs} outputs have the bytes of version {done.version}")
    for path in done.other:
        typer.echo(f"other    {path}")
    return 1 if done.other else 0


def _tell_of_the_champion(params: Params, version: str) -> None:
    """Let Prefect know, where a server is set: a scoring with the new champion starts by this."""
    from flows.events import PROMOTED, tell

    payload = {"version": version, "dataset": params.dataset}
    tell(PROMOTED, params.register.model_name, payload, warn=warn)
