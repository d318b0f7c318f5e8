"""`idiom ui`, `deploy`, `stack`, `doctor`: what runs around the pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.command import HERE, Workspace, app, command


@command("Operate")
def ui(
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the runs in a browser, where there is a screen.")
    ] = True,
    workspace: Workspace = HERE,
) -> int:
    """MLflow and Prefect in the browser, on the stores of the workspace; Ctrl-C ends both."""
    from flows.servers import run_ui

    return run_ui(workspace.resolve(), mlflow_port, prefect_port, typer.echo, browser=browser)


@command("Operate")
def deploy(
    notify: Annotated[
        str | None, typer.Option(help="Notification block that is told of runs that fail: TYPE/NAME.")
    ] = None,
    gpu_jobs: Annotated[int, typer.Option(min=1, help="Runs at a time in the work queue `gpu`.")] = 1,
    workspace: Workspace = HERE,
) -> None:
    """Set up what prefect.yaml says on Prefect's server: pool, queues, deployments, automations; repeatable."""
    from flows.deploy import deploy as run

    run(workspace.resolve(), notify=notify, gpu_jobs=gpu_jobs, say=typer.echo)


stack = typer.Typer(help="PostgreSQL, S3, MLflow, Prefect and a worker on this machine.", no_args_is_help=True)
app.add_typer(stack, name="stack", rich_help_panel="Operate")


@command(None, of=stack)
def start(
    postgres_port: Annotated[int, typer.Option(min=1, max=65535)] = 5433,
    s3_port: Annotated[int, typer.Option(min=1, max=65535)] = 9000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    workspace: Workspace = HERE,
) -> None:
    """Start all of them, wait until all answer, and leave them running."""
    from infra.stack import start as run

    ports = {"postgres": postgres_port, "s3": s3_port, "mlflow": mlflow_port, "prefect": prefect_port}
    run(workspace.resolve(), ports, say=typer.echo)
    typer.echo(f"MLflow      http://127.0.0.1:{mlflow_port}   Prefect  http://127.0.0.1:{prefect_port}")
    typer.echo('next        eval "$(idiom stack env)" && idiom deploy; passwords: .stack/passwords.json')


@command(None, of=stack)
def stop(workspace: Workspace = HERE) -> None:
    """End all of them; what they hold stays in .stack/."""
    from infra.stack import stop as run

    typer.echo("stopped" if run(workspace.resolve()) else "no stack was running")


@command(None, of=stack)
def status(workspace: Workspace = HERE) -> int:
    """Which of them answer; exit code 1 where one does not."""
    from infra.stack import status as run

    found = run(workspace.resolve())
    for name, each in found.items():
        again = f", restarts: {each['restarts']}" if each["restarts"] else ""
        typer.echo(f"{name:<9} {'ready' if each['ready'] else 'NOT READY'}{again}")
    if not found:
        typer.echo("no stack is running")
    return int(not found or not all(each["ready"] for each in found.values()))


@command(None, of=stack)
def env(workspace: Workspace = HERE) -> None:
    """Addresses and passwords as a shell's exports: eval "$(idiom stack env)"."""
    from infra.stack import environment

    for name, value in environment(workspace.resolve()).items():
        typer.echo(f"export {name}='{value}'")


@command("Operate")
def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe: nothing is lost, no run is disturbed.")
    ] = False,
    workspace: Workspace = HERE,
) -> int:
    """Check versions, pins, GPU, servers, disk, data, MLflow's database, locks; say how to mend what is wrong."""
    from flows.doctor import examine

    failed = False
    for finding in examine(workspace.resolve(), fix=fix):
        typer.echo(f"{finding.status:<4}  {finding.what}")
        if finding.status != "ok" and finding.mend:
            typer.echo(f"      mend: {finding.mend}")
        failed |= finding.status == "fail"
    return int(failed)
