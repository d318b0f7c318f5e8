"""`idiom ingest`, `add-items`, `monitor`, `forget`: data that change under a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.command import HERE, Workspace, command, repro_until, run_flow, warn


@command("Data that change")
def ingest(
    append: Annotated[
        str | None,
        typer.Option(help="A drop of new data: a file, a folder or a URL (s3://...).", show_default=False),
    ] = None,
    workspace: Workspace = HERE,
) -> int:
    """Take in a drop of new data, judged against the history; without --append, read the raw data (the stage)."""
    if append is None:
        return repro_until(workspace, "ingest")
    from components.settings.file import load
    from flows.drops import append_drop

    done = append_drop(workspace, load(workspace / "params.yaml"), append, typer.echo)
    for line in done.lines:
        typer.echo(line)
    if done.kept:
        typer.echo("next     idiom retrain takes it in; git add data/drops && git commit keeps its version")
    return 0


@command("Data that change")
def add_items(
    file: Annotated[
        str | None,
        typer.Argument(
            help="New rows of the item table: file, folder or URL (none: the items of all drops).", show_default=False
        ),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Judge the version at once by the rules of `promote:`.")
    ] = True,
    workspace: Workspace = HERE,
) -> int:
    """New items in the champion at once, without retraining: named, added to trie and voices, gated."""
    from components.settings.file import load
    from flows.add_items import add_items as run

    done = run(workspace, load(workspace / "params.yaml"), file, decides=promote, say=typer.echo)
    shown = list(done.extension.words.items())
    for item, words in shown[:20]:
        typer.echo(f"  {item}  {words}")
    if len(shown) > 20:
        typer.echo(f"  ... and {len(shown) - 20:,} more")
    for item, kept in list(done.extension.aliases.items())[:20]:
        typer.echo(f"  {item}  is {kept}: the same text")
    typer.echo(
        f"version {done.version}, items added: {len(shown):,}, in {done.seconds:.1f} s; nothing was learned again"
    )
    if done.promotion is None:
        typer.echo("next     idiom promote decides on it")
        return 0
    accepted = done.promotion.decision.accepted
    typer.echo(f"version {done.version} is {'promoted' if accepted else 'refused'}")
    for reason in done.promotion.decision.reasons:
        typer.echo(f"  {'passed ' if reason.passed else 'REFUSED'}  {reason.text}")
    return 0 if accepted else 3


@command("Data that change")
def monitor(
    at: Annotated[
        str | None,
        typer.Option(help="End of the window, ISO date UTC (none: the newest interaction).", show_default=False),
    ] = None,
    prefect: Annotated[
        bool, typer.Option("--prefect", help="As a flow run in Prefect, as a schedule does it.")
    ] = False,
    workspace: Workspace = HERE,
) -> int:
    """Has what happens now drifted from what the champion was trained on? A page with its history; a Prefect event."""
    if prefect:
        return run_flow("monitor", json.dumps({"workspace": str(workspace.resolve())}))
    from components.settings.file import load
    from flows.monitor import monitor as run
    from flows.servers import adopt_running_prefect
    from flows.when import moment

    adopt_running_prefect(workspace)
    end = moment(at, "--at") if at else None
    done = run(workspace, load(workspace / "params.yaml"), at=end, say=typer.echo, warn=warn)
    for name, each in done.record.measures.items():
        mark = "DRIFTED" if each["drifted"] else "-" if each["value"] is None else "ok"
        typer.echo(f"{mark:<8} {name:<15} {each['said']}")
    typer.echo(f"page     {done.page}")
    if done.sent:
        typer.echo("sent     the event idiom.drift, with these figures")
    elif done.record.drifted and not done.record.emitted:
        typer.echo("note     Prefect was not told; the next run tells it: idiom ui starts a server", err=True)
    return 0


@command("Data that change")
def forget(
    user: Annotated[list[str] | None, typer.Option(help="Id of a user; may be repeated.", show_default=False)] = None,
    item: Annotated[list[str] | None, typer.Option(help="Id of an item; may be repeated.", show_default=False)] = None,
    users: Annotated[Path | None, typer.Option(help="File of user ids, one a line.", show_default=False)] = None,
    items: Annotated[Path | None, typer.Option(help="File of item ids, one a line.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(help="Who asked for it, for the record.", show_default=False)] = None,
    workspace: Workspace = HERE,
) -> int:
    """Delete users or items for good: from tables, drops, later drops, scores and the next bundle; recorded."""
    from components.data.append.forget import ids_in
    from components.errors import BadInput
    from components.settings.file import load
    from flows.drops import forget_ids

    asked = {
        "user": [*(user or []), *(ids_in(users) if users else [])],
        "item": [*(item or []), *(ids_in(items) if items else [])],
    }
    if not any(asked.values()):
        raise BadInput("nobody and nothing is named", where="idiom forget", mend="idiom forget --user ID")
    params, code = load(workspace / "params.yaml"), 0
    for kind, ids in asked.items():
        if ids:
            code = forget_ids(workspace, params, kind, ids, by=by, say=typer.echo) or code  # type: ignore[arg-type]
    typer.echo("next     idiom retrain makes the bundle without them")
    return code
