"""One side of a comparison: the results of a model or a baseline, user by user, read from an evaluation's artifacts.

    a = read(Path("artifacts/demo"), name="what is trained")
    b = read(Path("artifacts/demo"), "item_graph", name="item graph")
    a.users["rank"]                                    # ranks of the targets in the headline variant

A folder is a dataset's artifacts or what `keep` wrote of them: `register` logs that to the MLflow run, so that a
version can be compared when its workspace is gone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from components.errors import BadInput
from components.evaluation import adaptation
from components.evaluation.contenders import CONTENDERS, MODEL, VARIANTS
from components.storage import parquet
from components.storage.artifacts import publishing, read_json
from components.storage.layout import Layout
from components.storage.thumbnails import THUMBNAILS, Thumbnails

PER_USER, METRICS, NAMES, VERDICT = "per_user.parquet", "metrics.json", "names.parquet", "verdict.json"
CURVE = "curve.json"
SLICE = "slice/"
"""How columns begin that name the slice of each user: one a slicing."""
_EVALUATE_AGAIN = "run the stage `evaluate` of this version again: dvc repro --single-item evaluate"


class NotKept(BadInput):
    """Results of an earlier version of Idiom, which kept less of them, or none."""


@dataclass(frozen=True)
class Side:
    """What one model, or baseline, did for each user of an evaluation."""

    name: str
    """What a reader calls it: "version 12"."""
    who: str
    """Its name in `contenders`."""
    users: pl.DataFrame
    """`user_id`, `target`, `prompt`, `times` (of the prompt, null where they are not known), `rank` (0: not in the
    list), `recommended`, and the `SLICE` columns."""
    baselines: Mapping[str, pl.DataFrame]
    """The other contenders of the same evaluation: `user_id`, `target` and `rank`."""
    protocol: Mapping[str, Any]
    titles: Mapping[str, str | None]
    words: Mapping[str, str]
    """Item id -> title, and textual ID in the table of this side."""
    verdict: Mapping[str, Any]
    """What `validate` found; empty where it is not known."""
    facts: Mapping[str, Any]
    """What else is known of it: commit, digests, version, for the foot of a page; `cost`, as `contenders.COSTS`."""
    voices: Mapping[str, Any] = field(default_factory=dict)
    """The section `voices` of its metrics.json, with the `protocol` of these figures; empty where it has no ranker."""
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """Item id -> a small JPEG, of the items that have one."""
    curve: Mapping[str, Any] = field(default_factory=dict)
    """Its adaptation curve (evaluation/adaptation.py); empty where none was taken."""

    @property
    def headline(self) -> str:
        """Variant of the lists: masked or unmasked."""
        return str(self.protocol["headline"])

    @property
    def depth(self) -> int:
        """Length of the lists, where enough can be recommended."""
        return int(self.protocol["depth"])


def read(folder: Path, who: str = MODEL, *, name: str, facts: Mapping[str, Any] | None = None) -> Side:
    """The contender `who` of the evaluation in `folder`.

    Raises `BadInput` for a contender that was not evaluated there, and for artifacts that are missing or too old.
    """
    paths = _paths(folder)
    metrics = _metrics(paths[METRICS])
    protocol = metrics["protocol"]
    columns = {each: f"{each}_{protocol['headline']}" for each in CONTENDERS}
    table = pl.DataFrame(parquet.read(paths[PER_USER]))
    lists = "recommended" if who == MODEL else f"recommended_{who}"
    slicings = [column for column in table.columns if column.startswith(SLICE)]
    needed = {"user_id", "target", "prompt", columns.get(who, who), lists}
    if not needed <= set(table.columns) or not slicings:
        missing = ", ".join(sorted(needed - set(table.columns))) or f"{SLICE}..."
        raise NotKept(f"the per-user results lack {missing}", where=str(paths[PER_USER]), mend=_EVALUATE_AGAIN)
    titles, words = _names(paths)
    rank = pl.col(columns[who]).fill_null(0).cast(pl.Int64).alias("rank")
    times = pl.col("times") if "times" in table.columns else pl.lit(None, pl.List(pl.Float64)).alias("times")
    users = table.select("user_id", "target", "prompt", times, rank, pl.col(lists).alias("recommended"), *slicings)
    others = {
        each: table.select("user_id", "target", rank=pl.col(column).fill_null(0).cast(pl.Int64))
        for each, column in columns.items()
        if each not in (who, MODEL) and column in table.columns
    }
    verdict = read_json(paths[VERDICT]) if paths[VERDICT].is_file() else {}
    heard = metrics["voices"] | {"protocol": protocol} if who == MODEL and metrics.get("voices") else {}
    pictures = Thumbnails.load(paths[THUMBNAILS])
    curve = adaptation.read(paths[CURVE], paths[METRICS]) if who == MODEL else {}
    return Side(name, who, users, others, protocol, titles, words, verdict, dict(facts or {}), heard, pictures, curve)


def keep(layout: Layout, folder: Path) -> None:
    """Write into `folder` what `read` needs of the artifacts of a dataset, names of the items included."""
    with publishing(folder) as temporary:
        temporary.mkdir()
        for source, name in ((layout.per_user, PER_USER), (layout.metrics, METRICS), (layout.verdict, VERDICT)):
            shutil.copyfile(source, temporary / name)
        if layout.thumbnails.is_file() and Thumbnails.load(layout.thumbnails):
            shutil.copyfile(layout.thumbnails, temporary / THUMBNAILS)
        if adaptation.read(layout.curve, layout.metrics):
            shutil.copyfile(layout.curve, temporary / CURVE)
        titles, words = _names(_paths(layout.root))
        rows = {"item_id": list(words), "title": [titles.get(item) for item in words], "words": list(words.values())}
        names = pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String, "words": pl.String})
        names.write_parquet(temporary / NAMES, compression="zstd", statistics=False)


def kept_of(side: Side, folder: Path, old: Path) -> None:
    """Write into `folder` what `read` needs of a side that was asked anew (rescored.py): the results `old`, in a folder
    of `keep`, with its ranks and lists, of its users alone."""
    paths = _paths(old)
    column = f"{MODEL}_{side.headline}"
    asked = side.users.select("user_id", "target", pl.col("rank").replace(0, None).alias(column), "recommended")
    before = pl.DataFrame(parquet.read(paths[PER_USER]))
    joined = before.drop(column, "recommended").join(asked, on=["user_id", "target"], maintain_order="left")
    with publishing(folder) as temporary:
        temporary.mkdir()
        joined.select(before.columns).write_parquet(temporary / PER_USER, compression="zstd", statistics=False)
        for name in (METRICS, VERDICT, THUMBNAILS, CURVE):
            if paths[name].is_file():
                shutil.copyfile(paths[name], temporary / name)
        words = side.words
        rows = {
            "item_id": list(words),
            "title": [side.titles.get(item) for item in words],
            "words": list(words.values()),
        }
        names = pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String, "words": pl.String})
        names.write_parquet(temporary / NAMES, compression="zstd", statistics=False)


def _paths(folder: Path) -> dict[str, Path]:
    """Where the files lie, in a dataset's artifacts or in what `keep` wrote."""
    if (folder / PER_USER).is_file():
        return {name: folder / name for name in (PER_USER, METRICS, NAMES, VERDICT, THUMBNAILS, CURVE)}
    if not (folder / "evaluate").is_dir():
        mend = "give a folder like artifacts/DATASET, in which `evaluate` has run"
        raise BadInput("there are no per-user results", where=str(folder), mend=mend)
    layout = Layout(Path(), "any")
    files = {
        PER_USER: layout.per_user,
        METRICS: layout.metrics,
        VERDICT: layout.verdict,
        THUMBNAILS: layout.thumbnails,
        CURVE: layout.curve,
        "items": layout.items_clean,
        "id_table": layout.id_table,
    }
    return {name: folder / path.relative_to(layout.root) for name, path in files.items()}


def _names(paths: Mapping[str, Path]) -> tuple[dict[str, str | None], dict[str, str]]:
    """(item id -> title, item id -> textual ID)."""
    if NAMES in paths:
        table = pl.DataFrame(parquet.read(paths[NAMES], ["item_id", "title", "words"]))
        return dict(table.select("item_id", "title").iter_rows()), dict(table.select("item_id", "words").iter_rows())
    titles = pl.DataFrame(parquet.read(paths["items"], ["item_id", "title"]))
    words = pl.DataFrame(parquet.read(paths["id_table"], ["item_id", "words"]))
    return dict(titles.iter_rows()), dict(words.iter_rows())


def _metrics(path: Path) -> dict[str, Any]:
    """metrics.json, whose protocol is one."""
    metrics = read_json(path)
    protocol = metrics.get("protocol") if isinstance(metrics, dict) else None
    needed = {"headline": str, "headline_k": int, "depth": int, "training": str}
    if not isinstance(protocol, dict) or not all(isinstance(protocol.get(key), kind) for key, kind in needed.items()):
        raise NotKept("the protocol of the evaluation is not there", where=str(path), mend=_EVALUATE_AGAIN)
    if protocol["headline"] not in VARIANTS:
        raise BadInput(f"headline is {protocol['headline']!r}", where=str(path), mend=_EVALUATE_AGAIN)
    return dict(metrics)
