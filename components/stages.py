"""The seven stages: the one file that connects the rooms.

Each stage reads the artifacts that dvc.yaml lists for it and publishes its own; `python -m components STAGE` runs one.
Imports stand inside the functions, because a stage should not pay for another's libraries (mlflow 3.4 s, torch 2.3 s).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadInput, GateRefused
from components.progress import ConsoleBar, JsonLines, Sink, reporting
from components.settings.params import Params, to_dict
from components.storage.artifacts import publish_json, publishing_together, read_json
from components.storage.layout import Layout
from components.storage.manifest import digest, sha256, verify_manifest

if TYPE_CHECKING:
    from components.textid.table.id_table import IdTable

PROGRESS_FILE = "IDIOM_PROGRESS_FILE"
"""Environment variable: where a stage writes its progress as JSON lines, for a flow that follows it."""

NO_BARS = "IDIOM_NO_BARS"
"""Environment variable: whoever reads the progress file draws the bars, so that the stage's output has none."""


def run(stage: str, workspace: Path, params: Params) -> None:
    """Run one of `STAGES` in `workspace`. Raises `StageError` with its exit code (components/errors.py)."""
    STAGES[stage](workspace, params)


def ingest(workspace: Path, params: Params) -> None:
    """Raw files in any supported format -> canonical tables."""
    from components.data.ingest.ingest import ingest as ingest_tables
    from components.data.ingest.ingest import warnings

    report = ingest_tables(params.ingest, workspace / params.ingest.path, Layout(workspace, params.dataset))
    _warn("ingest", warnings(report))


def validate(workspace: Path, params: Params) -> None:
    """Canonical tables -> verdict and Data Docs; raises `GateRefused` on a critical failure."""
    from components.data.validate.validate import in_words as warnings
    from components.data.validate.validate import validate as validate_tables

    _warn("validate", warnings(validate_tables(params.validate, Layout(workspace, params.dataset))))


def clean(workspace: Path, params: Params) -> None:
    """Canonical tables -> clean item texts, histories and targets."""
    from components.data.clean.clean import clean as clean_tables

    clean_tables(params.clean, params.seed, Layout(workspace, params.dataset))


def train(workspace: Path, params: Params) -> None:
    """Clean items, histories and validation targets -> the trained pair, followed live in MLflow.

    On several nodes (train.nodes) it runs on each; the first one publishes the pair and has the MLflow run.
    """
    from components.registry.tracking import TrainingRun
    from components.training.job import Job
    from components.training.processes.nodes import Nodes
    from components.training.run import launch

    layout = Layout(workspace, params.dataset)
    key = train_key(layout, params)
    job = Job(
        items_clean=layout.items_clean,
        histories=layout.histories,
        valid_targets=layout.valid_targets,
        out=layout.pair,
        work=layout.work(key[:16]),
        train=params.train,
        index=params.index,
        seed=params.seed,
        train_key=key,
        imported_ids=workspace / params.train.imported_ids if params.train.imported_ids else None,
    )
    if not Nodes.of(params.train).first:
        with _reporting() as progress:
            launch(job, progress)
        return
    with TrainingRun(workspace, params, key) as mlflow_sink, _reporting(mlflow_sink) as progress:
        launch(job, progress)


def index(workspace: Path, params: Params) -> None:
    """The pair's table, with IDs for items it has not seen -> the published ID table, its contract checked."""
    from components.data.validate.id_suite import document
    from components.networks.tokenizer import load_tokenizer
    from components.recommender.pair import FACTS, TOKENIZER
    from components.storage import parquet
    from components.training.ids.given import index_given
    from components.training.ids.indexing import IndexJob, index_ids

    layout, ranks = Layout(workspace, params.dataset), params.train.ranks
    trained = read_json(layout.pair / FACTS)["train"]
    if trained.get("ids", "generated") != "generated":
        file = workspace / trained["imported_ids"] if trained["imported_ids"] else None
        table, report = index_given(layout.pair, layout.items_clean, params.index, file)
    else:
        job = IndexJob(layout.pair, layout.items_clean, layout.work("index"), params.index, params.train.device, ranks)
        with _reporting() as progress:
            table, report = index_ids(job, progress)
    tokenizer = load_tokenizer(layout.pair / TOKENIZER)
    item_ids = parquet.read(layout.items_clean, ["item_id"])["item_id"].to_pylist()
    contract = table.contract(tokenizer, max_tokens=params.index.max_tokens, item_ids=item_ids)
    outputs = (layout.index_docs, layout.index_report, layout.id_table)
    with publishing_together(*outputs) as (site, report_to, table_to):
        document(contract, site)
        publish_json(report_to, report)
        table.save(table_to)


def evaluate(workspace: Path, params: Params) -> None:
    """The one look at the test set: metrics beside the baselines, per-user results, plots, report."""
    import polars as pl

    from components.evaluation.evaluate import evaluate as evaluate_lists
    from components.recommender.engine import Engine, Recommendation
    from components.storage import parquet

    layout, settings = Layout(workspace, params.dataset), params.evaluate
    items = pl.DataFrame(parquet.read(layout.items_clean, ["item_id", "title"]))
    table = _table_to_evaluate(layout, items["item_id"].to_list())
    engine = Engine.load(layout.pair, id_table=layout.id_table)
    facts = read_json(layout.pair / "pair.json")
    with _reporting() as progress:

        def recommend(histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> list[list[Recommendation]]:
            return engine.recommend(
                histories,
                k=k,
                mask_seen=mask_seen,
                drop_repeats=params.clean.drop_repeats,
                progress=progress,
                **settings.decoding,
            )

        evaluate_lists(
            settings,
            seed=params.seed,
            layout=layout,
            items=items,
            histories=pl.DataFrame(parquet.read(layout.histories, ["user_id", "history"])),
            valid=pl.DataFrame(parquet.read(layout.valid_targets, ["user_id", "context", "target"])),
            test=pl.DataFrame(parquet.read(layout.test_targets, ["user_id", "context", "target"])),
            words=dict(zip(table.item_ids, table.words, strict=True)),
            recommend=recommend,
            protocol="refit" if facts["refit"] else "strict",
            facts={"chosen round": facts["round"], "chosen epoch": facts["epoch"], "training steps": facts["steps"]},
        )


def register(workspace: Path, params: Params) -> None:
    """The bundle of all that -> a model version in MLflow."""
    from components.evaluation.metrics_file import read_metrics
    from components.evaluation.summary import markdown
    from components.registry.register import register as register_bundle

    layout = Layout(workspace, params.dataset)
    with _reporting() as progress:
        register_bundle(params, layout, description=markdown(read_metrics(layout.metrics)), progress=progress)


def data_warnings(workspace: Path, params: Params) -> list[str]:
    """What `ingest` set aside and `validate` warned of, read from their artifacts; nothing where there are none yet."""
    from components.data.ingest.ingest import warnings as of_ingest
    from components.data.validate.validate import in_words as of_validate

    layout = Layout(workspace, params.dataset)
    lines = []
    for path, in_lines in ((layout.ingest_report, of_ingest), (layout.verdict, of_validate)):
        if path.is_file():
            lines += in_lines(read_json(path))
    return lines


def findings(workspace: Path, params: Params) -> str:
    """What `evaluate` found, as Markdown: sentences and table, for Prefect's UI."""
    from components.evaluation.metrics_file import read_metrics
    from components.evaluation.summary import markdown

    return markdown(read_metrics(Layout(workspace, params.dataset).metrics))


def in_words(workspace: Path, params: Params) -> str:
    """What `evaluate` found, for a terminal: does the model win, and three users with histories and recommendations."""
    import polars as pl

    from components.evaluation.examples import as_text, pick
    from components.evaluation.metrics_file import read_metrics
    from components.evaluation.summary import sentences
    from components.storage import parquet

    layout = Layout(workspace, params.dataset)
    titles, words, users = (
        pl.DataFrame(parquet.read(path, columns))
        for path, columns in (
            (layout.items_clean, ["item_id", "title"]),
            (layout.id_table, ["item_id", "words"]),
            (layout.per_user, None),
        )
    )
    shown = pick(users, dict(titles.iter_rows()), dict(words.iter_rows()), seed=params.seed)
    return "\n".join([*sentences(read_metrics(layout.metrics)), "", as_text(shown)]).rstrip()


def train_key(layout: Layout, params: Params) -> str:
    """Hash of all that decides the trained weights: input files, settings and the code of the learning rooms.

    It names the work folder (so a resumed training meets its own checkpoint only) and finds the MLflow run again.
    """
    rooms = Path(__file__).parent
    code = {name: [sha256(file) for file in sorted((rooms / name).rglob("*.py"))] for name in LEARNING_ROOMS}
    given = [layout.workspace / params.train.imported_ids] if params.train.imported_ids else []
    # A model of the hub is known by its name, one in a folder by what lies there.
    given += [layout.workspace / name for name in params.train.pretrained if (layout.workspace / name).is_dir()]
    inputs = [sha256(path) for path in (layout.items_clean, layout.histories, layout.valid_targets, *given)]
    return digest(
        {
            "inputs": inputs,
            # All but where it runs and how often it saves: another address must not lose the checkpoints, and all
            # nodes share one work folder.
            "train": {**to_dict(params.train), "node_rank": None, "rendezvous": None, "checkpoint_seconds": None},
            # Only the stage `index` asks for `stable`.
            "index": {**to_dict(params.index), "stable": None},
            "seed": params.seed,
            "code": code,
        }
    )


def _table_to_evaluate(layout: Layout, item_ids: Sequence[str]) -> IdTable:
    """The published ID table, which has no manifest: its contract is looked at again before anyone believes its words.

    Raises `BadInput` where it is not of this catalogue, `GateRefused` where it breaks a rule (edited by hand, say).
    """
    from components.networks.tokenizer import load_tokenizer
    from components.recommender.pair import TOKENIZER
    from components.textid.table.id_table import IdTable

    verify_manifest(layout.pair)
    table, mend = IdTable.load(layout.id_table), "run the stage `index` again"
    if list(table.item_ids) != sorted(item_ids):
        where = f"{layout.id_table} and {layout.items_clean}"
        raise BadInput("the ID table and the catalogue hold different items", where=where, mend=mend)
    # Length is a setting of `index`, so it is no rule here: none is longer than the longest.
    longest = max(map(len, table.token_ids), default=0)
    broken = table.violations(load_tokenizer(layout.pair / TOKENIZER), max_tokens=longest, item_ids=item_ids)
    if broken:
        rules = "; ".join(f"{rule['rule']} ({rule['count']} rows, such as {rule['rows'][0]})" for rule in broken)
        raise GateRefused(f"the ID table breaks its contract: {rules}", where=str(layout.id_table), mend=mend)
    return table


def _warn(stage: str, lines: Sequence[str]) -> None:
    """Tell the person at the terminal: a warning in a JSON file warns nobody."""
    for line in lines:
        print(f"warning ({stage}): {line}", file=sys.stderr)


def _reporting(*more: Sink) -> Any:
    """Console, the file a flow follows if there is one, and `more`."""
    path = os.environ.get(PROGRESS_FILE)
    return reporting(ConsoleBar(bars=NO_BARS not in os.environ), *([JsonLines(Path(path))] if path else []), *more)


LEARNING_ROOMS = ("networks", "textid", "recommender", "training")
STAGES: dict[str, Callable[[Path, Params], None]] = {
    "ingest": ingest,
    "validate": validate,
    "clean": clean,
    "train": train,
    "index": index,
    "evaluate": evaluate,
    "register": register,
}
