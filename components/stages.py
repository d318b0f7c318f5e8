"""The nine stages: the one file that connects the rooms for the graph.

Each stage reads the artifacts that dvc.yaml lists for it and publishes its own; `python -m components STAGE` runs one.
Imports stand inside the functions, because a stage should not pay for another's libraries (mlflow 3.4 s, torch 2.3 s).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.console import Console
from components.progress import JsonLines, Sink, reporting
from components.settings.params import Params, to_dict
from components.storage.artifacts import publish_json, publishing_together, read_json
from components.storage.layout import Layout

if TYPE_CHECKING:
    import polars as pl

    from components.evaluation.arrays import Cases
    from components.recommender.interface import Recommender

PROGRESS_FILE = "IDIOM_PROGRESS_FILE"
"""Environment variable: where a stage writes its progress as JSON lines, for a flow that follows it."""

ERROR_FILE = "IDIOM_ERROR_FILE"
"""Environment variable: where a stage writes its error as JSON instead of printing it; the caller says it, once."""

NO_BARS = "IDIOM_NO_BARS"
"""Environment variable: whoever reads the progress file draws the bars, so that the stage's output has none."""


def run(stage: str, workspace: Path, params: Params) -> None:
    """Run one of `STAGES` in `workspace`. Raises `StageError` with its exit code (components/errors.py)."""
    STAGES[stage](workspace, params)


def keep_cost(stage: str, workspace: Path, params: Params, figures: Mapping[str, float]) -> None:
    """Leave what a stage has cost for `register`, which is the last and not counted."""
    from components.registry.cost import keep

    if stage != "register":
        keep(Layout(workspace, params.dataset), stage, figures)


def ingest(workspace: Path, params: Params) -> None:
    """Raw files in any supported format, and what arrived since -> canonical tables."""
    from components.data.drops.store import Store
    from components.data.ingest.ingest import ingest as ingest_tables

    store = Store.of(workspace, params.dataset)
    report = ingest_tables(params.ingest, workspace / params.ingest.path, Layout(workspace, params.dataset), store)
    _warn("ingest", report["in_words"])


def validate(workspace: Path, params: Params) -> None:
    """Canonical tables -> verdict and Data Docs; raises `GateRefused` on a critical failure."""
    from components.data.validate.validate import validate as validate_tables
    from components.processes import git

    made = [("Run", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"), ("Commit", git.short(workspace))]
    verdict = validate_tables(params.validate, Layout(workspace, params.dataset), params.clean, made=made)
    _warn("validate", verdict["in_words"])


def views(workspace: Path, params: Params) -> None:
    """Relations and media -> a vector and words for each item; without any, empty files at once."""
    from components.views.build import build

    layout, raw = Layout(workspace, params.dataset), workspace / params.ingest.path
    with _reporting() as progress:
        report = build(params.views, params.ingest, raw, layout, seed=params.seed, progress=progress)
    _warn("views", report["in_words"])


def clean(workspace: Path, params: Params) -> None:
    """Canonical tables and the words of views -> clean item texts, histories and targets."""
    from components.data.clean.clean import clean as clean_tables

    layout = Layout(workspace, params.dataset)
    report = clean_tables(params.clean, params.seed, layout)
    publish_json(layout.taught_by_first, {kind: report[kind]["kept"] for kind in ("items", "users", "interactions")})
    _warn("clean", report["in_words"])


def train(workspace: Path, params: Params) -> None:
    """Clean items, histories and validation targets, of all catalogues -> the trained pair, followed live in MLflow.

    On several nodes (train.nodes) it runs on each; the first one publishes the pair and has the MLflow run.
    """
    from components.processes.nodes import Nodes
    from components.registry.tracking import TrainingRun
    from components.training.job import NEIGHBOURS, TEACHER, Job
    from components.training.key import train_key, work_folder
    from components.training.run import launch

    layout = Layout(workspace, params.dataset)
    key = train_key(layout, params)
    job = Job(
        items_clean=layout.items_clean,
        histories=layout.histories,
        valid_targets=layout.valid_targets,
        out=layout.pair,
        work=work_folder(layout, key),
        train=params.train,
        index=params.index,
        seed=params.seed,
        train_key=key,
        drop_repeats=params.clean.drop_repeats,
        imported_ids=workspace / params.train.imported_ids if params.train.imported_ids else None,
        views=layout.views if params.train.views else None,
        start=workspace / params.train.start if params.train.start else None,
        dataset=params.dataset,
        further=[str(layout.taught_by(name)) for name in params.catalogues],
    )
    distil = params.train.distil
    if distil.voice:
        job = replace(job, teacher=job.work / TEACHER)
    neighbours = params.train.neighbours
    if neighbours.voice:
        job = replace(job, neighbours=job.work / NEIGHBOURS)
    if not Nodes.of(params.train).first:
        with _reporting() as progress:
            launch(job, progress)
        return
    with TrainingRun(workspace, params, key) as mlflow_sink, _reporting(mlflow_sink) as progress:
        tables = job.items_clean, job.histories
        how: dict[str, Any] = {"seed": params.seed, "drop_repeats": job.drop_repeats, "progress": progress}
        if job.teacher:
            from components.voices import teacher

            teacher.write(job.teacher, *tables, distil, **how)
        if job.neighbours:
            from components.voices import neighbours as lists

            lists.write(job.neighbours, *tables, neighbours, **how)
        launch(job, progress)


def index(workspace: Path, params: Params) -> None:
    """The pair's table, with IDs for items it has not seen -> the published ID table, its contract checked."""
    from components.data.validate.id_suite import document
    from components.networks.tokenizer import load_tokenizer
    from components.recommender.pair import FACTS, TOKENIZER
    from components.storage import parquet
    from components.textid.table.quality import warnings
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
    report["in_words"] = warnings(report) if trained.get("ids") != "random" else []  # a control, false by intent
    outputs = (layout.index_docs, layout.index_report, layout.id_table)
    with publishing_together(*outputs) as (site, report_to, table_to):
        document(contract, site)
        publish_json(report_to, report)
        table.save(table_to)
    _warn("index", report["in_words"])


def rank(workspace: Path, params: Params) -> None:
    """Training histories and validation targets -> voices and the ranker over them, built as the pair was: where that
    was trained on the validation items too (refit), the voices are built from them once more."""
    import polars as pl

    from components.evaluation.arrays import cases
    from components.ranking.choosing import choose_mode
    from components.ranking.hybrid import Hybrid
    from components.ranking.lists import Held
    from components.ranking.modes import Choice
    from components.ranking.teaching import teach
    from components.ranking.views import WITHOUT, compared, controls, refuse_unknown, with_views
    from components.recommender.catalogue import Catalogue, read_aliases
    from components.recommender.engine import Engine
    from components.recommender.pair import FACTS, published_table
    from components.storage import parquet, vectors
    from components.storage.manifest import sha256
    from components.voices.learned import Learned, in_order

    layout = Layout(workspace, params.dataset)
    items = pl.DataFrame(parquet.read(layout.items_clean))
    histories, valid = (pl.DataFrame(parquet.read(path)) for path in (layout.histories, layout.valid_targets))
    table = published_table(layout.pair, layout.id_table, items["item_id"].to_list())
    titles = dict(items.select("item_id", "title").iter_rows())
    catalogue = Catalogue(table, titles, read_aliases(layout.aliases), params.clean.drop_repeats)
    texts = in_order(table.item_ids, items.to_dict(as_series=False))
    # A k-core of the training part gives no held-out event away, so that counts need no clipping.
    core = params.clean.min_item_interactions if params.clean.core == "all" else 0
    asked = cases(items, histories, valid, valid, seed=params.seed)
    # Nobody has to run `views` where there are none; no foundation ranker hears any.
    wanted = params.views.ranker and layout.views.is_dir() and params.rank.foundation is None
    pictured = vectors.load(layout.views, table.item_ids) if wanted else {}
    voices = params.voices.reading(params.views.words)
    held = Held(asked.prompts, asked.prompt_days, asked.targets)
    with _reporting() as progress:
        if params.rank.encoders and params.rank.foundation is None:
            from components.views.texts import encoded

            own = {name: layout.pair if each == "generator" else each for name, each in params.rank.encoders.items()}
            dims = params.rank.encoder_dims
            pictured |= encoded(texts["text"], own, dims=dims, taken=pictured, progress=progress)
        if params.rank.foundation is None:
            refuse_unknown(params.rank, pictured)
        learned = Learned(catalogue, asked.train, asked.train_days, texts, params.seed, views=pictured)

        def taught_with(given: Any) -> Any:
            if params.rank.foundation is not None:
                from components.foundation.few_shot import few_shot
                from components.foundation.foundation import Foundation

                foundation = Foundation.load(workspace / params.rank.foundation)
                return few_shot(foundation, learned, held, params.rank, voices, core=core, progress=progress)
            chosen = with_views(params.rank, given)
            return teach(replace(learned, views=given), held, chosen, voices, core=core, progress=progress)

        taught = taught_with(pictured)
        found: dict[str, Any] = {}
        if pictured and params.views.controls:
            spoilt = controls(taught_with, pictured, params.seed)
            found = compared(taught, spoilt)
            if (without := spoilt[WITHOUT]) and found["taken"] == WITHOUT:
                taught, pictured, learned = without, {}, replace(learned, views={})
        hybrid = Hybrid.of(taught.choice.ranker, taught.reader, catalogue, taught.voices)
        report: dict[str, Any] = {}
        known = learned
        if read_json(layout.pair / FACTS)["refit"]:
            again = cases(items, histories, valid, valid, refit=True, seed=params.seed)
            known = Learned(catalogue, again.train, again.train_days, texts, params.seed, views=pictured)
            hybrid = hybrid.rebuilt(known)
            choice = Choice("generate", 0.0)  # the model knows the validation items: they cannot say who is better
        else:
            engine = Engine.load(layout.pair, catalogue=catalogue, lean=True)  # the same answers, without the library
            decoding = replace(params.rank.decoding, mode=None)
            asks = {"most_users": params.rank.judged_users, "seed": params.seed, "progress": progress}
            choice, report = choose_mode(engine, hybrid, held, decoding, **asks)
    hybrid = hybrid.with_facts(known)
    choice = replace(choice, mode=params.rank.mode or choice.mode)
    outputs = (layout.hybrid, layout.mode, layout.rank_report)
    with publishing_together(*outputs) as (hybrid_to, mode_to, report_to):
        hybrid.save(hybrid_to)
        publish_json(mode_to, to_dict(choice))
        learned_from = {"histories": sha256(layout.histories), "valid_targets": sha256(layout.valid_targets)}
        about_views = {"views": found, "in_words": found["in_words"]} if found else {}
        publish_json(
            report_to, {**taught.choice.report(), "modes": report, "learned_from": learned_from, **about_views}
        )
    _warn("rank", found.get("in_words", []))


def evaluate(workspace: Path, params: Params) -> None:
    """The one look at the test set: metrics beside the baselines, per-user results, plots, report, learning curves."""
    import polars as pl

    from components.evaluation.arrays import cases, overlaid
    from components.evaluation.contenders import MODEL, baselines
    from components.evaluation.curves import publish_curves
    from components.evaluation.evaluate import evaluate as evaluate_recommenders
    from components.evaluation.other_ties import OtherTies
    from components.evaluation.remembered import Remembered
    from components.evaluation.trust import gather
    from components.evaluation.voice_figures import Apart
    from components.evaluation.voices import HYBRID, MIXTURE
    from components.ranking.hybrid import HybridOnce
    from components.ranking.leaving import left_out
    from components.ranking.lists import Held
    from components.ranking.modes import Choice, Modes
    from components.recommender.catalogue import Catalogue
    from components.recommender.engine import Engine
    from components.recommender.pair import FACTS, published_table
    from components.settings.params import OTHER_TIES, to_dict
    from components.storage import parquet, vectors
    from components.storage.job import from_json
    from components.voices.learned import Learned, in_order
    from components.voices.load import build

    layout, settings, ties = Layout(workspace, params.dataset), params.evaluate, params.clean.ties
    items = pl.DataFrame(parquet.read(layout.items_clean))
    targets = ["user_id", "context", "target", "context_timestamps", "timestamp", "also"]
    wanted = {
        "histories": (layout.histories, ["user_id", "history", "timestamps"]),
        "valid": (layout.valid_targets, targets),
        "test": (layout.test_targets, targets),
    }
    tables = {name: pl.DataFrame(parquet.read(path, columns)) for name, (path, columns) in wanted.items()}
    table = published_table(layout.pair, layout.id_table, items["item_id"].to_list())
    catalogue = Catalogue(
        table, titles=dict(items.select("item_id", "title").iter_rows()), drop_repeats=params.clean.drop_repeats
    )
    facts = read_json(layout.pair / FACTS)
    engine = Remembered(Engine.load(layout.pair, catalogue=catalogue))
    model: Recommender = engine
    if layout.hybrid.is_dir():  # a grid of ablations has none: it compares trainings of the language model
        choice = from_json(Choice, read_json(layout.mode))
        model = Modes(catalogue, lambda: engine, lambda: HybridOnce.load(layout.hybrid), choice)

    texts = in_order(table.item_ids, items.to_dict(as_series=False))
    pictured = {}
    if params.views.ranker and layout.views.is_dir() and layout.hybrid.is_dir():
        pictured = vectors.load(layout.views, table.item_ids)

    def judged(tables: Mapping[str, pl.DataFrame]) -> tuple[Cases, dict[str, Recommender], Learned]:
        """Whom to ask, the model beside baselines that know no more than it was allowed to, and what they know."""
        core, refit = params.clean.min_item_interactions, facts["refit"]
        asked = cases(items, **tables, refit=refit, max_users=settings.max_users, seed=params.seed, core=core)
        learned = Learned(catalogue, asked.train, asked.train_days, texts, views=pictured)
        voices = params.voices.reading(params.views.words)
        return asked, {MODEL: model, **{name: build(name, learned, voices) for name in baselines()}}, learned

    voices: dict[str, Recommender] = {}
    other, refit = None, None
    if layout.other_order.is_dir():  # a grid of ablations has none: it compares under one order
        theirs = {
            name: pl.DataFrame(parquet.read(layout.other_order / path.name, columns))
            for name, (path, columns) in wanted.items()
        }
        if not theirs["histories"].is_empty():
            there, recommenders, learned = judged(overlaid(tables, theirs))
            again = model.ranker.rebuilt(learned) if isinstance(model, Modes) else None
            anew = {**again.reader.voices, HYBRID: again} if again else {}
            other = OtherTies(OTHER_TIES[ties], there, recommenders, anew)
    asked, recommenders, _ = judged(tables)
    read = {name: to_dict(getattr(params, name)) for name in ("clean", "evaluate", "voices")} | {"seed": params.seed}
    mode: str = "generate"
    apart = None
    with _reporting() as progress:
        if isinstance(model, Modes):
            ranker, mode = model.ranker, params.evaluate.mode or model.choice.mode
            both = Modes(catalogue, lambda: engine, lambda: ranker, replace(model.choice, mode="hybrid"))
            voices = {**ranker.reader.voices, HYBRID: ranker, "generate": engine, MIXTURE: both}
            held = Held(asked.prompts, asked.prompt_days, asked.targets)
            if not facts["refit"]:
                more = cases(items, *(tables[name] for name in wanted), refit=True)
                again = ranker.rebuilt(Learned(catalogue, more.train, more.train_days, texts, views=pictured))
                refit = {**again.reader.voices, HYBRID: again}
            apart = Apart(**vars(left_out(ranker, held, masked=catalogue.masks(settings), progress=progress)))
        evaluate_recommenders(
            settings,
            asked,
            recommenders,
            catalogue,
            seed=params.seed,
            layout=layout,
            facts={"chosen round": facts["round"], "chosen epoch": facts["epoch"], "training steps": facts["steps"]},
            trust=gather(layout, settings=read, train_key=facts.get("train_key", "")),
            ties=ties,
            other=other,
            voices=voices,
            mode=mode,
            apart=apart,
            catalogues={name: read_json(layout.judged_on(name)) for name in params.catalogues},
            refit=refit,
            progress=progress,
        )
    publish_curves(layout.pair, layout.curves)


def register(workspace: Path, params: Params) -> None:
    """The bundle of all that -> a model version in MLflow."""
    from components.evaluation.in_words import findings_as_markdown
    from components.evaluation.model_card import model_card
    from components.registry.register import register as register_bundle

    layout = Layout(workspace, params.dataset)
    with _reporting() as progress:
        card, description = model_card(layout, params), findings_as_markdown(layout)
        register_bundle(params, layout, description=description, card=card, progress=progress)


def data_warnings(workspace: Path, params: Params) -> list[str]:
    """What the stages warned of, read from their artifacts, so that it is said also where DVC found them unchanged."""
    from components.evaluation.trust import warnings

    return [text for _, text in warnings(Layout(workspace, params.dataset))]


def _warn(stage: str, lines: Sequence[str]) -> None:
    """Tell the person at the terminal: a warning in a JSON file warns nobody."""
    for line in lines:
        print(f"warning ({stage}): {line}", file=sys.stderr)


def _reporting(*more: Sink) -> Any:
    """Console, the file a flow follows if there is one, and `more`."""
    path = os.environ.get(PROGRESS_FILE)
    return reporting(Console(bars=NO_BARS not in os.environ), *([JsonLines(Path(path))] if path else []), *more)


STAGES: dict[str, Callable[[Path, Params], None]] = {
    "ingest": ingest,
    "validate": validate,
    "views": views,
    "clean": clean,
    "train": train,
    "index": index,
    "rank": rank,
    "evaluate": evaluate,
    "register": register,
}
