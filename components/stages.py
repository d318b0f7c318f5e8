"""The seven stages: the one file that connects the rooms.

Each stage reads the artifacts that dvc.yaml lists for it and publishes its own; `python -m components STAGE` runs one.
Imports stand inside the functions, because a stage should not pay for another's libraries (mlflow 3.4 s, torch 2.3 s).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.artifacts import Layout, digest, publish_json, publishing, read_json, sha256
from components.params import Params, to_dict
from components.progress import ConsoleBar, JsonLines, Sink, reporting

PROGRESS_FILE = "IDIOM_PROGRESS_FILE"
"""Environment variable: where a stage writes its progress as JSON lines, for a flow that follows it."""


def run(stage: str, workspace: Path, params: Params) -> None:
    """Run one of `STAGES` in `workspace`. Raises `StageError` with the exit code of DESIGN section 3."""
    STAGES[stage](workspace, params)


def ingest(workspace: Path, params: Params) -> None:
    """Raw files in any supported format -> canonical tables."""
    from components.data.ingest import ingest as ingest_tables

    ingest_tables(params.ingest, workspace / params.ingest.path, Layout(workspace, params.dataset))


def validate(workspace: Path, params: Params) -> None:
    """Canonical tables -> verdict and Data Docs; raises `GateRefused` on a critical failure."""
    from components.data.validate import validate as validate_tables

    validate_tables(params.validate, Layout(workspace, params.dataset))


def clean(workspace: Path, params: Params) -> None:
    """Canonical tables -> clean item texts, histories and targets."""
    from components.data.clean import clean as clean_tables

    clean_tables(params.clean, params.seed, Layout(workspace, params.dataset))


def train(workspace: Path, params: Params) -> None:
    """Clean items, histories and validation targets -> the trained pair, followed live in MLflow."""
    from components.registry.tracking import TrainingRun
    from components.training.job import Job
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
    with TrainingRun(workspace, params, key) as mlflow_sink, _reporting(mlflow_sink) as progress:
        launch(job, progress)


def index(workspace: Path, params: Params) -> None:
    """The pair's table, with IDs for items it has not seen -> the published ID table, its contract checked."""
    from components.data.id_suite import document
    from components.recommender.pair import Pair
    from components.textid.writer import write_ids

    layout = Layout(workspace, params.dataset)
    pair = Pair.load(layout.pair)
    columns = pq.read_table(layout.items_clean, columns=["item_id", "text"]).to_pydict()
    with _reporting() as progress:
        table, report = write_ids(
            pair.generator,
            pair.tokenizer,
            columns["item_id"],
            columns["text"],
            params.index,
            max_item_tokens=pair.facts["train"]["max_item_tokens"],
            taken=pair.table if params.index.stable else None,
            progress=progress,
        )
    contract = table.contract(pair.tokenizer, max_tokens=params.index.max_tokens, item_ids=columns["item_id"])
    with publishing(layout.index_docs) as site:
        document(contract, site)
    publish_json(layout.index_report, report | {"churn": table.churn(pair.table)})
    table.save(layout.id_table)


def evaluate(workspace: Path, params: Params) -> None:
    """The one look at the test set: metrics beside the baselines, per-user results, plots, report."""
    import polars as pl

    from components.evaluation.evaluate import evaluate as evaluate_lists
    from components.recommender.engine import Engine, Recommendation
    from components.textid.table import IdTable

    layout, settings = Layout(workspace, params.dataset), params.evaluate
    engine, table = Engine.load(layout.pair, id_table=layout.id_table), IdTable.load(layout.id_table)
    facts = read_json(layout.pair / "pair.json")
    with _reporting() as progress:

        def recommend(histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> list[list[Recommendation]]:
            return engine.recommend(
                histories,
                k=k,
                beams=settings.beams,
                scores=settings.scores,
                mask_seen=mask_seen,
                length_penalty=settings.length_penalty,
                batch_users=settings.batch_users,
                progress=progress,
            )

        evaluate_lists(
            settings,
            seed=params.seed,
            layout=layout,
            items=pl.read_parquet(layout.items_clean),
            histories=pl.read_parquet(layout.histories),
            valid=pl.read_parquet(layout.valid_targets),
            test=pl.read_parquet(layout.test_targets),
            words=dict(zip(table.item_ids, table.words, strict=True)),
            recommend=recommend,
            protocol="refit" if facts["refit"] else "strict",
            facts={"chosen round": facts["round"], "chosen epoch": facts["epoch"], "training steps": facts["steps"]},
        )


def register(workspace: Path, params: Params) -> None:
    """The bundle of all that -> a model version in MLflow."""
    from components.evaluation.summary import markdown
    from components.registry.register import register as register_bundle

    layout = Layout(workspace, params.dataset)
    with _reporting() as progress:
        register_bundle(params, layout, description=markdown(read_json(layout.metrics)), progress=progress)


def findings(workspace: Path, params: Params) -> str:
    """What `evaluate` found, as Markdown: sentences and table, for Prefect's UI."""
    from components.evaluation.summary import markdown

    return markdown(read_json(Layout(workspace, params.dataset).metrics))


def in_words(workspace: Path, params: Params) -> str:
    """What `evaluate` found, for a terminal: does the model win, and three users with histories and recommendations."""
    import polars as pl

    from components.evaluation.examples import as_text, pick
    from components.evaluation.summary import sentences

    layout = Layout(workspace, params.dataset)
    items = pl.read_parquet(layout.items_clean, columns=["item_id", "title"])
    table = pl.read_parquet(layout.id_table, columns=["item_id", "words"])
    shown = pick(pl.read_parquet(layout.per_user), dict(items.iter_rows()), dict(table.iter_rows()), seed=params.seed)
    return "\n".join([*sentences(read_json(layout.metrics)), "", as_text(shown)]).rstrip()


def train_key(layout: Layout, params: Params) -> str:
    """Hash of all that decides the trained weights: input files, settings and the code of the learning rooms.

    It names the work folder (so a resumed training meets its own checkpoint only) and finds the MLflow run again.
    """
    rooms = Path(__file__).parent
    code = {name: [sha256(file) for file in sorted((rooms / name).rglob("*.py"))] for name in LEARNING_ROOMS}
    inputs = [sha256(path) for path in (layout.items_clean, layout.histories, layout.valid_targets)]
    return digest(
        {
            "inputs": inputs,
            "train": to_dict(params.train),
            "index": to_dict(params.index),
            "seed": params.seed,
            "code": code,
        }
    )


def _reporting(*more: Sink) -> Any:
    """Console, the file a flow follows if there is one, and `more`."""
    path = os.environ.get(PROGRESS_FILE)
    return reporting(ConsoleBar(), *([JsonLines(Path(path))] if path else []), *more)


LEARNING_ROOMS = ("textid", "recommender", "training")
STAGES: dict[str, Callable[[Path, Params], None]] = {
    "ingest": ingest,
    "validate": validate,
    "clean": clean,
    "train": train,
    "index": index,
    "evaluate": evaluate,
    "register": register,
}
