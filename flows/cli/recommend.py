"""`idiom recommend`, `score`, `serve`, `zero-shot`, `foundation`, `adapt`, `experts`: whatever answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.cli.command import HERE, WhoAnswers, Workspace, command, run_flow


@command("Recommend")
def recommend(
    items: Annotated[
        list[str] | None, typer.Argument(help="Item ids of a history, oldest first.", show_default=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many items.")] = 10,
    user: Annotated[str | None, typer.Option(help="Take the history of this user of the data instead.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle or a saved voice instead of the champion.")] = None,
    mode: WhoAnswers = None,
    workspace: Workspace = HERE,
) -> None:
    """Recommendations of the champion, in words, each with its reason."""
    from components.errors import BadInput
    from components.settings.file import load
    from flows.recommend import history_of
    from flows.recommend import recommend as ask

    if bool(items) == bool(user):
        raise BadInput("give item ids or --user, one of them", where="idiom recommend", mend="idiom recommend ITEM_ID")
    params = load(workspace / "params.yaml")
    history = history_of(workspace, params, user) if user else list(items or [])
    answer = ask(workspace, params, history, k=k, bundle=bundle, mode=mode)
    columns = (answer[name] for name in ("item_ids", "textual_ids", "titles", "scores", "reasons"))
    for place, (item, words, title, score, reason) in enumerate(zip(*columns, strict=True), 1):
        typer.echo(f"{place:>3}. {words}  ({title})  {item}  {score:.3f}\n     {reason}")
    typer.echo(answer["sentence"])
    if answer["note"]:
        typer.echo(f"note: {answer['note']}", err=True)


@command("Recommend")
def score(
    histories: Annotated[
        Path | None,
        typer.Argument(
            help="File of user_id and history, or of user_id and item_id in order: Parquet, JSON lines, CSV, TSV.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write (default: artifacts/DATASET/score).")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many items per user.")] = 10,
    workers: Annotated[int, typer.Option(min=0, help="Processes (0: one per core and thread, or per GPU).")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each; they decide the last bits.")] = 1,
    shard_users: Annotated[int, typer.Option(min=1, help="Users in a shard: what a kill costs a worker.")] = 2048,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    bundle: Annotated[Path | None, typer.Option(help="A bundle or a saved voice instead of the champion.")] = None,
    mode: WhoAnswers = None,
    on: Annotated[
        str | None, typer.Option(help="Who scores: processes (without --dask the default), dask or torchrun.")
    ] = None,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler (implies --on dask).")] = None,
    prefect: Annotated[
        bool, typer.Option("--prefect", help="As a flow run in Prefect, as a schedule does it; Dask always is one.")
    ] = False,
    workspace: Workspace = HERE,
) -> int:
    """Recommendations for all users (of the data, or of a file) to Parquet; killed, it goes on where it was."""
    on = on or ("dask" if dask else "processes")
    settings = {"k": k, "threads": threads, "shard_users": shard_users, "device": device, "mode": mode}
    if prefect or on == "dask":
        places = {"workspace": workspace, "histories": histories, "out": out, "bundle": bundle}
        given = {name: str(path.resolve()) for name, path in places.items() if path is not None}
        return run_flow("score", json.dumps({**given, **settings, "workers": workers, "team": on, "dask": dask}))
    from components.settings.file import load
    from flows.score import score as run
    from flows.score import team_of

    team, params = team_of(on, dask), load(workspace / "params.yaml")
    typer.echo(run(workspace, params, histories, out, bundle=bundle, workers=workers, settings=settings, team=team))
    return 0


@command("Recommend")
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5001,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    follow: Annotated[str, typer.Option(help="Alias whose version is served, also when it moves.")] = "champion",
    mode: WhoAnswers = None,
    workspace: Workspace = HERE,
) -> int:
    """Serve the champion over HTTP, always the current one; with a page to try it."""
    from components.settings.file import load
    from flows.serve import serve as run

    params = load(workspace / "params.yaml")
    return run(workspace.resolve(), params, host=host, port=port, alias=follow, mode=mode, say=typer.echo)


@command("Recommend")
def zero_shot(
    path: Annotated[Path, typer.Argument(help="Folder with the raw files of a shop that nothing was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write (none: work/zero-shot/NAME).", show_default=False)
    ] = None,
    foundation: Annotated[
        Path | None, typer.Option(help="What `idiom foundation` saved (none: sums with fixed weights).")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle whose generator writes the IDs (none: the most distinctive words).")
    ] = None,
    writer: Annotated[
        Path | None, typer.Option(help="Folder of a pretrained instruct model that writes the IDs, as SmolLM2.")
    ] = None,
    tier: Annotated[
        str | None, typer.Option(help="text_only, statistics or stream: what may be known of the shop (none: all).")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many items are shown.")] = 10,
    judge_users: Annotated[int, typer.Option(min=0, help="Most users that it judges itself by (0: not).")] = 5000,
    keep: Annotated[bool, typer.Option("--keep", help="Take OUT/params.yaml as it stands, mended by hand.")] = False,
    workspace: Workspace = HERE,
) -> None:
    """Recommendations for an unknown shop without any training; with interactions it judges itself."""
    from flows.zero_shot import zero_shot as run

    folder = out or workspace / "work" / "zero-shot" / path.resolve().name
    who: dict[str, Any] = {"foundation": foundation, "bundle": bundle, "writer": writer}
    run(path, folder, **who, tier=tier, k=k, judge_users=judge_users, keep=keep, say=typer.echo)


@command("Recommend")
def foundation(
    paths: Annotated[list[Path], typer.Argument(help="Folders with the raw files of source shops.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("work/foundation"),
    users: Annotated[int, typer.Option(min=1, help="Users of each source whose lists teach.")] = 10_000,
    encoder: Annotated[
        str | None, typer.Option(help="Reads the texts: `wordllama`, or a folder (none: words alone).")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Choose the fixed weights too, and write them to this file.")
    ] = None,
    weight_users: Annotated[int, typer.Option(min=1, help="Users of each source who choose them.")] = 1000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Take OUT-sources/NAME/params.yaml as they stand, mended by hand.")
    ] = False,
    workspace: Workspace = HERE,
) -> None:
    """Teach a ranker on several shops that ranks for others at once, with `idiom zero-shot --foundation`."""
    from flows.zero_shot import foundation as run

    ask: dict[str, Any] = {"users": users, "encoder": encoder, "weights": weights, "weight_users": weight_users}
    run(paths, workspace / out, **ask, keep=keep, say=typer.echo)


@command("Recommend")
def adapt(
    bundle: Annotated[
        str, typer.Argument(help="What is adapted: a bundle's folder, or a version of the workspace (champion, 12).")
    ],
    path: Annotated[Path, typer.Argument(help="Folder with the raw files of the new shop.")],
    way: Annotated[
        Literal["full", "lora", "prompt"],
        typer.Option(help="What learns: all weights, matrices of low rank, or vectors in front of the prompt."),
    ] = "full",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs; the best on validation is kept, or none.")] = 4,
    steps: Annotated[int, typer.Option(min=0, help="Steps at least; few users are gone through more often.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Workspace to write (none: work/adapt/NAME).", show_default=False)
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(help="WORKSPACE/DATASET of a shop that taught it: what is forgotten of it is measured."),
    ] = None,
    average: Annotated[
        list[Path] | None, typer.Option(help="Bundle that went on from one start with BUNDLE; the mean is adapted.")
    ] = None,
    foundation: Annotated[
        Path | None, typer.Option(help="What `idiom foundation` saved: a ranker beside the shop's own.")
    ] = None,
    curve: Annotated[
        list[str] | None, typer.Option(help="Users known in the adaptation curve: 0,10,30,100,10%,all.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of these users.")] = 5,
    curve_ways: Annotated[
        list[str] | None, typer.Option(help="Ways of the language model in it: full,lora,prompt,scratch.")
    ] = None,
    sample_users: Annotated[int, typer.Option(min=0, help="So many users of the new shop, by a hash (0: all).")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Take OUT/params.yaml as it stands, mended by hand: way and epochs too.")
    ] = False,
    register: Annotated[bool, typer.Option(help="Register it in the workspace's MLflow.")] = False,
    workspace: Workspace = HERE,
) -> None:
    """A model that other shops taught, adapted to a new one: IDs, voices and ranker of the new shop, judged once."""
    from flows.adapt import adapt as run

    folder = out or workspace / "work" / "adapt" / path.resolve().name
    how: dict[str, Any] = {
        "way": way,
        "epochs": epochs,
        "steps": steps,
        "sample_users": sample_users,
        "keep": keep,
        "register": register,
        "workspace": workspace,
    }
    how |= {"sources": source or [], "others": average or [], "foundation": foundation}
    how |= {"curve": _listed(curve), "draws": draws, "curve_ways": _listed(curve_ways)}
    run(bundle, path, folder, **how, say=typer.echo)


def _listed(given: list[str] | None) -> list[str]:
    """An option that may be repeated, of several values between commas or spaces."""
    return [each for part in given or [] for each in part.replace(",", " ").split()]


@command("Recommend")
def experts(
    path: Annotated[Path, typer.Argument(help="Folder with the raw files of the new shop.")],
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of other shops, which answer together.")],
    out: Annotated[
        Path | None, typer.Option(help="Workspace to write (none: work/experts/NAME).", show_default=False)
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Take OUT/params.yaml as it stands, mended by hand.")] = False,
    workspace: Workspace = HERE,
) -> None:
    """Models of several shops answer for a new one together, gated by how alike their texts are; nothing is trained."""
    from flows.adapt import experts as run

    run(bundles, path, out or workspace / "work" / "experts" / path.resolve().name, keep=keep, say=typer.echo)
