"""The command line `idiom`. Typer alone is imported at the top; a command imports the rest inside.

Exit codes: 0 done; 2 bad input or parameter; 3 a gate refused; 130 interrupted with the checkpoint saved; 1 others.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from components.settings.params import Params

app = typer.Typer(
    help="The production pipeline for generative recommendation with textual item IDs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


Workspace = Annotated[Path, typer.Option("--workspace", "-w", help="Folder with params.yaml and dvc.yaml.")]
HERE = Path()
WhoAnswers = Annotated[
    Literal["generate", "rank", "hybrid"] | None,
    typer.Option(help="Who answers: the language model, the ranker, or both (default: as the bundle says)."),
]


GROUPS = {
    "Train": ("init", "retrain", "repro", "ablate", "backfill"),
    "Data that change": ("ingest", "add_items", "monitor", "forget"),
    "Recommend": ("recommend", "score", "serve", "zero_shot", "foundation", "adapt", "experts"),
    "Versions": ("compare", "promote", "rollback", "lineage", "reproduce"),
    "Operate": ("ui", "deploy", "stack", "doctor"),
}
"""Headings of `idiom --help`, and the commands under each."""


def _group(name: str) -> str | None:
    return next((heading for heading, names in GROUPS.items() if name in names), None)


def command(function: Callable[..., int | None] | None = None, *, of: typer.Typer = app) -> Any:
    """Register a command: the environment first, and an error that a person can mend without a traceback."""
    if function is None:
        return functools.partial(command, of=of)

    @of.command(rich_help_panel=_group(function.__name__) if of is app else None)
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


@command
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


@command
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
    if code := _flow(str(workspace.resolve()), *chosen):
        return code
    _summary(workspace)
    return _warnings(workspace, said="")


@command
def repro(
    stage: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
    workspace: Workspace = HERE,
) -> int:
    """The same graph by `dvc repro`, without Prefect; then what came of it."""
    return repro_until(workspace, stage, force=force)


def repro_until(workspace: Path, stage: str | None, *, force: bool = False) -> int:
    """Run `dvc repro` up to a stage (None: all), say what came of it, return the exit code."""
    from flows.repro import reproduce_all

    outcome = reproduce_all(workspace, stage, force=force)
    if outcome.message:
        typer.echo(f"error: {outcome.message}", err=True)
    if outcome.exit_code:
        return outcome.exit_code
    if not stage:
        _summary(workspace)
    return _warnings(workspace, said=outcome.output if stage else "")


@command
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


@command
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
    typer.echo(f"version {done.version}: {len(shown):,} items more, in {done.seconds:.1f} s; nothing was learned again")
    if done.promotion is None:
        typer.echo("next     idiom promote decides on it")
        return 0
    accepted = done.promotion.decision.accepted
    typer.echo(f"version {done.version} is {'promoted' if accepted else 'refused'}")
    for reason in done.promotion.decision.reasons:
        typer.echo(f"  {'passed ' if reason.passed else 'REFUSED'}  {reason.text}")
    return 0 if accepted else 3


@command
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
        return _flow("monitor", json.dumps({"workspace": str(workspace.resolve())}))
    from components.settings.file import load
    from flows.monitor import monitor as run
    from flows.servers import adopt_running_prefect
    from flows.when import moment

    adopt_running_prefect(workspace)
    end = moment(at, "--at") if at else None
    done = run(workspace, load(workspace / "params.yaml"), at=end, say=typer.echo, warn=_warn)
    for name, each in done.record.measures.items():
        mark = "DRIFTED" if each["drifted"] else "-" if each["value"] is None else "ok"
        typer.echo(f"{mark:<8} {name:<15} {each['said']}")
    typer.echo(f"page     {done.page}")
    if done.sent:
        typer.echo("sent     the event idiom.drift, with these figures")
    elif done.record.drifted and not done.record.emitted:
        typer.echo("note     Prefect was not told; the next run tells it: idiom ui starts a server", err=True)
    return 0


@command
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


@command
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


@command
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


@command
def foundation(
    paths: Annotated[list[Path], typer.Argument(help="Folders with the raw files of source shops.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("work/foundation"),
    users: Annotated[int, typer.Option(min=1, help="Users of each source whose lists teach.")] = 10_000,
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

    ask: dict[str, Any] = {"users": users, "weights": weights, "weight_users": weight_users, "keep": keep}
    run(paths, workspace / out, **ask, say=typer.echo)


@command
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
        "register": register,
        "workspace": workspace,
    }
    how |= {"sources": source or [], "others": average or [], "foundation": foundation}
    how |= {"curve": _listed(curve), "draws": draws, "curve_ways": _listed(curve_ways)}
    run(bundle, path, folder, **how, say=typer.echo)


def _listed(given: list[str] | None) -> list[str]:
    """An option that may be repeated, of several values between commas or spaces."""
    return [each for part in given or [] for each in part.replace(",", " ").split()]


@command
def experts(
    path: Annotated[Path, typer.Argument(help="Folder with the raw files of the new shop.")],
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of other shops, which answer together.")],
    out: Annotated[
        Path | None, typer.Option(help="Workspace to write (none: work/experts/NAME).", show_default=False)
    ] = None,
    workspace: Workspace = HERE,
) -> None:
    """Models of several shops answer for a new one together, gated by how alike their texts are; nothing is trained."""
    from flows.adapt import experts as run

    run(bundles, path, out or workspace / "work" / "experts" / path.resolve().name, say=typer.echo)


@command
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
        return _flow("score", json.dumps({**given, **settings, "workers": workers, "team": on, "dask": dask}))
    from components.settings.file import load
    from flows.score import score as run
    from flows.score import team_of

    team, params = team_of(on, dask), load(workspace / "params.yaml")
    typer.echo(run(workspace, params, histories, out, bundle=bundle, workers=workers, settings=settings, team=team))
    return 0


@command
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


@command
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


@command
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


@command
def promote(
    version: Annotated[
        str | None, typer.Argument(help="Version of the registered model (none: the challenger).", show_default=False)
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


@command
def rollback(
    version: Annotated[
        str | None, typer.Argument(help="Version to go back to (none: the champion before).", show_default=False)
    ] = None,
    why: Annotated[str, typer.Option(help="For the record in MLflow.")] = "",
    workspace: Workspace = HERE,
) -> None:
    """Make an earlier version champion again, at once, after it was loaded and asked."""
    from components.settings.file import load
    from flows.promote import roll_back

    params = load(workspace / "params.yaml")
    old, new = roll_back(workspace, params, version, why=why)
    typer.echo(f"champion: version {old} -> version {new}; idiom rollback goes back again")
    _tell_of_the_champion(params, new)


@command
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


@command
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


@command
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


@command
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


@command
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
app.add_typer(stack, name="stack", rich_help_panel=_group("stack"))


@command(of=stack)
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


@command(of=stack)
def stop(workspace: Workspace = HERE) -> None:
    """End all of them; what they hold stays in .stack/."""
    from infra.stack import stop as run

    typer.echo("stopped" if run(workspace.resolve()) else "no stack was running")


@command(of=stack)
def status(workspace: Workspace = HERE) -> int:
    """Which of them answer; exit code 1 where one does not."""
    from infra.stack import status as run

    found = run(workspace.resolve())
    for name, each in found.items():
        again = f", started anew {each['restarts']} times" if each["restarts"] else ""
        typer.echo(f"{name:<9} {'ready' if each['ready'] else 'NOT READY'}{again}")
    if not found:
        typer.echo("no stack is running")
    return int(not found or not all(each["ready"] for each in found.values()))


@command(of=stack)
def env(workspace: Workspace = HERE) -> None:
    """Addresses and passwords as a shell's exports: eval "$(idiom stack env)"."""
    from infra.stack import environment

    for name, value in environment(workspace.resolve()).items():
        typer.echo(f"export {name}='{value}'")


@command
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


def _flow(*arguments: str) -> int:
    """Run a flow (flows/__main__.py) in a session of its own: on Ctrl-C what runs saves its state, the flow reports it,
    the server ends last. If this process is killed, they end likewise. Returns the exit code."""
    from components.processes.child import run_to_end

    command = [sys.executable, "-m", "flows", *arguments]
    return run_to_end(command, cwd=Path(__file__).resolve().parents[1])


def _tell_of_the_champion(params: Params, version: str) -> None:
    """Let Prefect know, where a server is set: a scoring with the new champion starts by this."""
    from flows.events import PROMOTED, tell

    payload = {"version": version, "dataset": params.dataset}
    tell(PROMOTED, params.register.model_name, payload, warn=_warn)


def _warn(words: str) -> None:
    typer.echo(f"warning  {words}", err=True)


def _summary(workspace: Path) -> int:
    from components.settings.file import load
    from flows.results import summary

    typer.echo("\n" + summary(workspace.resolve(), load(workspace / "params.yaml")))
    return 0


def _warnings(workspace: Path, *, said: str) -> int:
    """Say what the stages warned of at the end, also of those that DVC found unchanged; what was `said` is not."""
    from components.settings.file import load
    from components.stages import data_warnings

    for line in data_warnings(workspace.resolve(), load(workspace / "params.yaml")):
        if line not in said:
            _warn(line)
    return 0


if __name__ == "__main__":
    app()
