"""Logs results, plots, a sample of the IDs and the model itself to the MLflow run."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation import adaptation
from components.evaluation.contenders import HEADLINE, MODEL, VARIANTS, logged_as
from components.registry.comparable import log_comparable
from components.registry.names import ANSWER
from components.registry.sink import MlflowSink
from components.registry.tracking import NOTE
from components.settings.params import Params
from components.storage.layout import Layout

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

ID_SAMPLE = "id_table_sample.json"
_SAMPLE_ROWS = 200

# What the served model imports; pinned to what it was made with.
_REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas", "pyarrow")


def metric_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """metrics.json as flat names: `answer/ndcg_at_10` (`_answer`), `test/recall_at_10`, `popularity/recall_at_10`,
    `test_unmasked/recall_at_10`, ...

    The headline variant has no suffix; the intervals at its cut-off are `test/recall_at_10_low` and `_high`. Where
    people buy again there are `test/repeat_recall_at_10`, `test/explore_recall_at_10`, `test/repeat_share_at_10`, ...
    """
    headline = metrics["protocol"]["headline"]
    values: dict[str, float] = {}
    for variant in VARIANTS:
        for who, figures in metrics[variant].items():
            prefix = logged_as(who) + ("" if variant == headline else f"_{variant}")
            of_repeats = metrics.get("repeats", {}).get(variant, {}).get(who, {})
            values |= {f"{prefix}/{metric}": float(value) for metric, value in (figures | of_repeats).items()}
    for who, intervals in metrics["intervals"].items():
        # Of the headline cut-off alone; all of them would bury the figures in MLflow's list (report.html has them).
        for metric in (f"{name}_at_{metrics['protocol']['headline_k']}" for name in HEADLINE):
            low, high = intervals[metric]
            values[f"{logged_as(who)}/{metric}_low"] = float(low)
            values[f"{logged_as(who)}/{metric}_high"] = float(high)
    others = _under_other_ties(metrics["ties"]) | _of_voices(metrics) | _of_catalogues(metrics)
    return _answer(metrics) | values | others


def _of_catalogues(metrics: Mapping[str, Any]) -> dict[str, float]:
    """`catalogues/NAME/ndcg_at_10` of every catalogue of the model, `catalogues/ndcg_at_10` of their mean, and that of
    each baseline likewise (`catalogues/item_graph_ndcg_at_10`); nothing where there is one."""
    if not (found := metrics.get("together")):
        return {}
    groups = {f"catalogues/{name}": each["figures"] for name, each in found["catalogues"].items()}
    return {
        f"{group}/{'' if who == MODEL else f'{who}_'}{metric}": float(value)
        for group, of_all in {**groups, "catalogues": found["mean"]}.items()
        for who, figures in of_all.items()
        for metric, value in figures.items()
    }


def _of_voices(metrics: Mapping[str, Any]) -> dict[str, float]:
    """`voices/graph_ndcg_at_10`, and what the ranker owes to it, `voices/graph_adds`; nothing where there is none."""
    if not (voices := metrics.get("voices")):
        return {}
    deciding = f"{HEADLINE[-1]}_at_{metrics['protocol']['headline_k']}"
    found = {
        f"voices/{name}_{deciding}": float(figures[deciding])
        for name, figures in voices[metrics["protocol"]["headline"]].items()
    }
    return found | {f"voices/{name}_adds": float(gain["difference"]) for name, gain in voices.get("adds", {}).items()}


def _answer(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures that decide: recall and NDCG at the headline cut-off, and NDCG minus that of each baseline, with the
    interval of the difference to the best of them."""
    protocol = metrics["protocol"]
    own = metrics[protocol["headline"]]
    names = [f"{name}_at_{protocol['headline_k']}" for name in HEADLINE]
    values = {f"{ANSWER}/{name}": float(own[MODEL][name]) for name in names}
    deciding = names[-1]
    for who, found in metrics["against"].items():
        values[f"{ANSWER}/ndcg_over_{who}"] = float(found[deciding]["difference"])
    best = max(metrics["against"], key=lambda who: (own[who][deciding], who))
    low, high = metrics["against"][best][deciding]["interval"]
    name = f"{ANSWER}/ndcg_over_{best}"
    return values | {f"{name}_low": float(low), f"{name}_high": float(high)}


def _under_other_ties(found: Mapping[str, Any]) -> dict[str, float]:
    """`item_graph_shuffle/ndcg_at_10` of all users; `test_file_held_out/...` and `test_shuffle_held_out/...` of those
    on whom the model can be judged under both orders of ties."""
    if found["other"] is None:
        return {}
    groups = {found["other"]: found["all"][found["other"]]}
    groups |= {f"{order}_held_out": of_all for order, of_all in found["held_out"].items() if order != "users"}
    return {
        f"{logged_as(who)}_{group}/{metric}": float(value)
        for group, of_all in groups.items()
        for who, figures in of_all.items()
        for metric, value in figures.items()
    }


def log_results(
    client: MlflowClient,
    run_id: str,
    layout: Layout,
    bundle: Path,
    description: str,
) -> None:
    """Figures, results user by user, plots, verdict and a sample of the ID table, into the run; the pages follow when
    they can be stamped with the version (pages.py).

    What the run lacks of the training is taken from its log: all of it where the pair came from DVC's cache or another
    machine, some where the store failed for a while.
    """
    replay(client, run_id, bundle / "training_log.jsonl")
    client.set_tag(run_id, NOTE, description or f"Trained on `{layout.dataset}`.")
    for path in (layout.metrics, layout.voices, layout.per_user, layout.verdict):
        if path != layout.voices or path.is_file():  # an evaluation of an earlier version has none
            client.log_artifact(run_id, str(path))
    client.log_artifacts(run_id, str(layout.plots), "plots")
    log_curve(client, run_id, layout)
    log_comparable(client, run_id, layout, bundle)
    if ID_SAMPLE not in {each.path for each in client.list_artifacts(run_id)}:
        # log_table appends to a table that is there, and one trained pair has one table.
        client.log_table(run_id, _id_sample(bundle), ID_SAMPLE)


def log_curve(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """The adaptation curve, where one was taken of the evaluation that lies here."""
    if adaptation.read(layout.curve, layout.metrics):
        client.log_artifact(run_id, str(layout.curve))


def replay(client: MlflowClient, run_id: str, log: Path) -> None:
    """Send a training log to a run that did not see (all of) the training; what it has is not sent again."""
    if not log.is_file():
        return
    sink = MlflowSink(client, run_id)
    seen = {each.path for each in client.list_artifacts(run_id, "id_examples")}
    for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        if row["event"] == "epoch":
            names = set(row) - {"event", "phase", "steps"}
            values = {f"{row['phase']}/{name}": float(row[name]) for name in sorted(names)}
            sink.emit("metrics", {"values": values, "step": row["steps"]})
        elif row["event"] == "index":
            values = {f"index/{name}": value for name, value in row["figures"].items()}
            sink.emit("metrics", {"values": values, "step": row["steps"]})
            if f"id_examples/round_{row['round']:02d}.tsv" not in seen:
                sink.emit("note", {"text": "", "index": row})
    sink.close()


def log_model(
    params: Params, layout: Layout, bundle: Path, tags: Mapping[str, str], history: Sequence[str] | None = None
) -> str:
    """Log the bundle as a models-from-code pyfunc in the active run; return the id of the logged model.

    history: the example of an input (None: of the first user of the dataset's artifacts)."""
    import mlflow.pyfunc

    example = _input_example(_first_history(layout) if history is None else list(history))
    with tempfile.TemporaryDirectory() as folder:
        logged = mlflow.pyfunc.log_model(
            name=params.register.model_name,
            python_model=str(Path(__file__).with_name("served.py")),
            code_paths=[str(_zipped_code(Path(folder)))],
            artifacts={"bundle": str(bundle)},
            signature=signature(),
            input_example=example,
            pip_requirements=[_pin(name) for name in _REQUIREMENTS],
            tags=dict(tags),
            model_type="recommender",
        )
    return logged.model_id


def _zipped_code(folder: Path) -> Path:
    """This package as `components.zip`, from which `served.py` imports it: MLflow sends a folder file by file, and 440
    requests through its server to S3 took most of a registration. Equal code makes equal bytes."""
    import components

    package, made = Path(components.__file__).parent, folder / "components.zip"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(path.relative_to(package.parent).as_posix())
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    return made


def signature() -> ModelSignature:
    """Input: history (list of strings), k (whole number) and times (list of numbers), which any row may lack. Output:
    lists and a sentence.

    MLflow is told no type of them, and the model checks it: of a list of strings with a null MLflow makes other strings
    ("n", and "l" of "long"), of lists under `inputs` one array, which fails where histories differ in length; a long
    refuses all rows where one has no k, and a double refuses int64.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array, Object, Property

    clause = Object(
        [
            Property("kind", DataType.string),
            Property("item", DataType.string, required=False),
            Property("people", DataType.long, required=False),
            Property("words", Array(DataType.string), required=False),
        ]
    )
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(AnyType(), "history"),
                ColSpec(AnyType(), "k", required=False),
                ColSpec(AnyType(), "times", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(Array(DataType.string), "item_ids"),
                ColSpec(Array(DataType.string), "textual_ids"),
                ColSpec(Array(DataType.string), "titles"),
                ColSpec(Array(DataType.double), "scores"),
                ColSpec(Array(DataType.string), "reasons"),
                ColSpec(Array(Array(clause)), "evidence"),
                ColSpec(DataType.string, "sentence"),
            ]
        ),
    )


def _pin(name: str) -> str:
    # "2.13.0+cpu" is a build of 2.13.0 that no index offers under this name.
    return f"{name}=={version(name).partition('+')[0]}"


def _first_history(layout: Layout) -> list[str]:
    import polars as pl

    found: list[str] = pl.read_parquet(layout.histories, n_rows=1)["history"][0].to_list()
    return found


def _input_example(history: list[str]) -> Any:
    """The last items of a history, so that the example is one the model has answers to."""
    import pandas as pd

    return pd.DataFrame({"history": [history[-3:]], "k": [10]})


def _id_sample(bundle: Path) -> dict[str, list[str]]:
    """Evenly spaced rows of the ID table, with titles."""
    import polars as pl

    table = pl.read_parquet(bundle / "id_table.parquet", columns=["item_id", "words"]).join(
        pl.read_parquet(bundle / "items.parquet"), on="item_id", how="left", maintain_order="left"
    )
    sample = table.gather_every(max(1, -(-len(table) // _SAMPLE_ROWS)))
    return {column: sample[column].fill_null("").to_list() for column in ("item_id", "words", "title")}
