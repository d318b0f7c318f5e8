"""Bad inputs of the stages: raw folders, settings and artifacts of a small shop, each with the stage that refuses it.

An entry of `CASES`: the stage, what is done to the workspace, and what the refusal has to say.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tests.workspaces import set_params

KINDS, COLOURS = ("soap", "towel", "brush", "cream"), ("black", "white", "green")
ITEMS = [f"{kind}-{colour}" for kind in KINDS for colour in COLOURS]
USERS = [f"u{number:02d}" for number in range(10)]
Edit = Callable[[Path], object]


def csv(head: str, *rows: str) -> str:
    return "\n".join([head, *rows]) + "\n"


def catalogue(title: Callable[[str], str] = lambda item: f"{item.replace('-', ' ')} of our shop") -> str:
    return csv("item_id,title", *(f"{item},{title(item)}" for item in ITEMS))


def history(users: list[str], items: list[str]) -> str:
    """Each user takes four items one after the other, a minute apart."""
    bought = [
        (user, step, items[(3 * number + step) % len(items)]) for number, user in enumerate(users) for step in range(4)
    ]
    return csv(
        "user_id,item_id,timestamp", *(f"{user},{item},{1_700_000_000 + 60 * step}" for user, step, item in bought)
    )


# What each entry does to a raw folder, a parameter or an artifact, as a function of the workspace.
def raw(name: str, content: str | bytes) -> Edit:
    def edit(workspace: Path) -> None:
        (workspace / "data" / "shop" / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def gone(*names: str) -> Edit:
    return lambda workspace: [(workspace / name).unlink() for name in names]


def setting(**sections: Any) -> Edit:
    return lambda workspace: set_params(workspace, sections)


def both(*edits: Edit) -> Edit:
    return lambda workspace: [edit(workspace) for edit in edits]


def packed_and_cut(workspace: Path) -> None:
    packed = gzip.compress((workspace / "data/shop/interactions.csv").read_bytes())
    (workspace / "data/shop/interactions.csv.gz").write_bytes(packed[: len(packed) // 2])
    (workspace / "data/shop/interactions.csv").unlink()


def folder_in_place_of(name: str) -> Edit:
    def edit(workspace: Path) -> None:
        (workspace / name).unlink()
        (workspace / name).mkdir()

    return edit


def cut(name: str) -> Edit:
    """Half of a file, as a full disk or a broken copy leaves it."""

    def edit(workspace: Path) -> None:
        path = workspace / "artifacts/shop" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return edit


def scrambled(name: str) -> Edit:
    """The footer of the Parquet file is sound, its pages are not: a schema can be read, the rows cannot."""

    def edit(workspace: Path) -> None:
        path = workspace / "artifacts/shop" / name
        content = bytearray(path.read_bytes())
        content[4:200] = bytes(196)
        path.write_bytes(content)

    return edit


def rewritten(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Edit:
    def edit(workspace: Path) -> None:
        path = workspace / "artifacts/shop" / name
        change(pl.read_parquet(path)).write_parquet(path)

    return edit


def written(name: str, value: Any) -> Edit:
    return lambda workspace: (workspace / "artifacts/shop" / name).write_text(json.dumps(value))


def changed(name: str, change: Callable[[Any], object]) -> Edit:
    def edit(workspace: Path) -> None:
        path = workspace / "artifacts/shop" / name
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return edit


def broken_pages(workspace: Path) -> None:
    """A database with a sound head and nothing behind it."""
    path = workspace / "mlflow.db"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))


def other_version(workspace: Path) -> None:
    """A database of a version of MLflow that this one does not know."""
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as store:
        store.execute("UPDATE alembic_version SET version_num = 'from the future'")
        store.commit()


CASES: dict[str, tuple[str, Edit, tuple[str, ...]]] = {
    # ingest: raw files
    "missing file": ("ingest", gone("data/shop/items.csv"), ("no file looks like the items", "interactions.csv")),
    "missing file that is named": ("ingest", setting(ingest={"items": "goods.csv"}), ("file is missing", "goods.csv")),
    "missing folder": ("ingest", setting(ingest={"path": "data/nowhere"}), ("does not exist", "data/nowhere")),
    "file in place of the folder": (
        "ingest",
        setting(ingest={"path": "data/shop/items.csv"}),
        ("is a file, not a folder",),
    ),
    "folder in place of a file": (
        "ingest",
        folder_in_place_of("data/shop/items.csv"),
        ("no file looks like the items",),
    ),
    "empty file": ("ingest", raw("items.csv", ""), ("0 bytes", "items.csv")),
    "header only": (
        "ingest",
        raw("interactions.csv", "user_id,item_id\n"),
        ("holds no interaction", "interactions.csv"),
    ),
    "wrong delimiter": ("ingest", raw("items.csv", catalogue().replace(",", ";")), ("semicolons", "items.csv")),
    "truncated gzip": ("ingest", packed_and_cut, ("ends in the middle", "interactions.csv.gz")),
    "broken JSON line": (
        "ingest",
        both(gone("data/shop/items.csv"), raw("items.jsonl", '{"item_id": "a", "title": "Soap"}\n{"item_id": "b", \n')),
        ("line 2 is not JSON", "items.jsonl"),
    ),
    "column missing": ("ingest", raw("interactions.csv", "user,item_id\nu,a\n"), ("'user_id'", "{user_id: user}")),
    "wrong type": (
        "ingest",
        raw("interactions.csv", "user_id,item_id,timestamp\nu1,a,1700000000\nu1,b,1700000060\nu1,c,soon\n"),
        ("row 3: 'soon'", "column timestamp"),
    ),
    "NaN ids": (
        "ingest",
        raw("interactions.csv", "user_id,item_id\nu1,a\nNaN,b\n,c\n"),
        ("2 rows have no user_id: row 2, 3",),
    ),
    "binary file": ("ingest", raw("items.csv", bytes(range(256)) * 20), ("items.csv",)),
    "text that is no UTF-8": (
        "ingest",
        raw("items.csv", "item_id,title\na,Caf\xe9\n".encode("latin-1")),
        ("not UTF-8",),
    ),
    # ingest: parameters and paths
    "no params.yaml": ("ingest", gone("params.yaml"), ("no parameter file", "params.yaml")),
    "params.yaml is no YAML": (
        "ingest",
        lambda root: (root / "params.yaml").write_text("a: [1"),
        ("not readable as YAML",),
    ),
    "unknown parameter": ("ingest", setting(train={"epocs": 3}), ("unknown parameter train.epocs",)),
    "negative size": ("ingest", setting(train={"recommender": {"batch_size": -4}}), ("batch_size is -4",)),
    "negative vocabulary": ("train", setting(train={"vocabulary_size": -1}), ("vocabulary_size is -1",)),
    "negative model": ("train", setting(train={"size": "d_model=-16"}), ("d_model",)),
    "path that climbs out": (
        "ingest",
        setting(ingest={"path": "../elsewhere"}),
        ("leaves the workspace", "idiom init"),
    ),
    "file that climbs out": ("ingest", setting(ingest={"items": "../../items.csv"}), ("leaves the workspace",)),
    "device that is none": ("train", setting(train={"device": "gpu"}), ("device is 'gpu'", "cuda:N")),
    "model name that MLflow refuses": ("train", setting(register={"model_name": "a/b"}), ("model_name is 'a/b'",)),
    "dataset name that no disk takes": ("ingest", setting(dataset="a" * 300), ("at most 100",)),
    "IDs that climb out": ("train", setting(train={"imported_ids": "../ids.tsv"}), ("leaves the workspace",)),
    "absolute path": ("ingest", setting(ingest={"path": "/etc"}), ("leaves the workspace",)),
    "absolute dataset name": (
        "ingest",
        setting(dataset="/tmp/shop"),
        ("dataset is '/tmp/shop'", "folder under artifacts/"),
    ),
    "experiment that climbs out": ("clean", setting(register={"experiment": "../../x"}), ("leaves the workspace",)),
    "dataset name that climbs out": ("clean", setting(dataset="../shop"), ("dataset is '../shop'",)),
    "dataset without artifacts": ("validate", setting(dataset="other"), ("artifact is missing", "artifacts/other")),
    # between stages: artifacts that are missing, damaged, or of another run
    "items are missing": (
        "validate",
        gone("artifacts/shop/ingest/items.parquet"),
        ("artifact is missing", "items.parquet"),
    ),
    "interactions with no item of the catalogue": (
        "ingest",
        raw("interactions.csv", history(USERS, [f"x-{item}" for item in ITEMS])),
        ("none of the 12 items", "items.csv"),
    ),
    "interactions cut off": ("validate", cut("ingest/interactions.parquet"), ("not readable as Parquet",)),
    "items with broken pages": ("validate", scrambled("ingest/items.parquet"), ("items.parquet",)),
    "no verdict": ("clean", gone("artifacts/shop/validate/verdict.json"), ("artifact is missing", "verdict.json")),
    "verdict cut off": ("clean", cut("validate/verdict.json"), ("not readable as JSON", "verdict.json")),
    "folder in place of the verdict": (
        "clean",
        folder_in_place_of("artifacts/shop/validate/verdict.json"),
        ("verdict.json",),
    ),
    "interactions with broken pages": ("clean", scrambled("ingest/interactions.parquet"), ("interactions.parquet",)),
    "k-core leaves nothing": (
        "clean",
        setting(clean={"min_user_interactions": 50}),
        ("nothing is left after the k-core", "lower clean.min_user_interactions (now 50)"),
    ),
    "no clean items": (
        "train",
        gone("artifacts/shop/clean/items_clean.parquet"),
        ("artifact is missing", "items_clean.parquet"),
    ),
    "clean items cut off": ("train", cut("clean/items_clean.parquet"), ("items_clean.parquet",)),
    "clean items with broken pages": ("train", scrambled("clean/items_clean.parquet"), ("items_clean.parquet",)),
    "clean items without text": (
        "train",
        rewritten("clean/items_clean.parquet", lambda items: items.drop("text")),
        ("text", "items_clean.parquet"),
    ),
    "histories of unknown items": (
        "train",
        rewritten("clean/items_clean.parquet", lambda items: items.slice(1)),
        ("items that have no text row", "histories.parquet"),
    ),
    "numbers for text before train": (
        "train",
        rewritten("clean/items_clean.parquet", lambda items: items.with_columns(text=pl.lit(3))),
        ("text: int32", "items_clean.parquet"),
    ),
    "text for histories before train": (
        "train",
        rewritten("clean/histories.parquet", lambda users: users.with_columns(history=pl.lit("soap-black"))),
        ("history: ", "histories.parquet"),
    ),
    "numbers for item ids": (
        "train",
        rewritten("clean/items_clean.parquet", lambda items: items.with_columns(item_id=pl.int_range(pl.len()))),
        ("item_id: int64", "items_clean.parquet"),
    ),
    "an item twice": (
        "train",
        rewritten("clean/items_clean.parquet", lambda items: pl.concat([items, items.head(1)])),
        ("items_clean.parquet",),
    ),
    "numbers for targets": (
        "train",
        rewritten("clean/valid_targets.parquet", lambda users: users.with_columns(target=pl.lit(7))),
        ("target: int32", "valid_targets.parquet"),
    ),
    "empty histories": (
        "train",
        rewritten("clean/histories.parquet", lambda users: users.clear()),
        ("no items or no training interactions",),
    ),
    "pair is missing": (
        "index",
        lambda root: shutil.rmtree(root / "artifacts/shop/train/pair"),
        ("artifact is missing", "train/pair"),
    ),
    "pair with another table": (
        "index",
        rewritten("train/pair/id_table.parquet", lambda table: table.reverse()),
        ("differs from the manifest", "id_table.parquet"),
    ),
    "pair with a file too many": (
        "index",
        lambda root: (root / "artifacts/shop/train/pair/model.pkl").write_bytes(b"x"),
        ("not in the manifest", "model.pkl"),
    ),
    "items cut off before index": ("index", cut("clean/items_clean.parquet"), ("items_clean.parquet",)),
    "items without text before index": (
        "index",
        rewritten("clean/items_clean.parquet", lambda items: items.drop("text")),
        ("text", "items_clean.parquet"),
    ),
    "numbers for text before index": (
        "index",
        rewritten("clean/items_clean.parquet", lambda items: items.with_columns(text=pl.lit(3))),
        ("text: int32", "items_clean.parquet"),
    ),
    "no validation targets before rank": (
        "rank",
        gone("artifacts/shop/clean/valid_targets.parquet"),
        ("artifact is missing", "valid_targets.parquet"),
    ),
    "pair cut off before rank": ("rank", cut("train/pair/pair.json"), ("pair.json",)),
    "text for histories": (
        "evaluate",
        rewritten("clean/histories.parquet", lambda users: users.with_columns(history=pl.lit("soap-black"))),
        ("history: ", "histories.parquet"),
    ),
    "weights changed": ("evaluate", cut("train/pair/recommender/model.safetensors"), ("differs from the manifest",)),
    "no test targets": ("evaluate", gone("artifacts/shop/clean/test_targets.parquet"), ("test_targets.parquet",)),
    "test targets cut off": ("evaluate", cut("clean/test_targets.parquet"), ("test_targets.parquet",)),
    "empty test targets": (
        "evaluate",
        rewritten("clean/test_targets.parquet", lambda users: users.clear()),
        ("no test targets",),
    ),
    "targets of unknown items": (
        "evaluate",
        rewritten("clean/test_targets.parquet", lambda users: users.with_columns(target=pl.lit("nothing"))),
        ("'nothing' is not in the catalogue",),
    ),
    "no ID table": ("evaluate", gone("artifacts/shop/index/id_table.parquet"), ("id_table.parquet",)),
    "ID table cut off": ("evaluate", cut("index/id_table.parquet"), ("not an ID table",)),
    "one ID for two items": (
        "evaluate",
        rewritten("index/id_table.parquet", lambda table: table.with_columns(pl.col("token_ids").first())),
        ("id_table.parquet",),
    ),
    "other words at the same tokens": (
        "evaluate",
        rewritten("index/id_table.parquet", lambda table: table.with_columns(pl.col("words").reverse())),
        ("id_table.parquet",),
    ),
    "ID table without an item": (
        "evaluate",
        rewritten("index/id_table.parquet", lambda table: table.slice(1)),
        ("different items", "id_table.parquet"),
    ),
    "no list of media": (
        "views",
        gone("artifacts/shop/ingest/media.parquet"),
        ("artifact is missing", "media.parquet"),
    ),
    "no metrics": ("register", gone("artifacts/shop/evaluate/metrics.json"), ("artifact is missing", "metrics.json")),
    "metrics that are a list": ("register", written("evaluate/metrics.json", []), ("it holds no object",)),
    "metrics of nothing": (
        "register",
        written("evaluate/metrics.json", {}),
        ("protocol is missing", "metrics.json", "run the stage `evaluate` again"),
    ),
    "metrics with text for a figure": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["masked"]["model"].update(recall_at_5="high")),
        ("masked.model.recall_at_5",),
    ),
    "metrics without a baseline": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["unmasked"].pop("popularity")),
        ("unmasked.popularity",),
    ),
    "metrics with a figure that is none": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["masked"]["model"].update(recall_at_5=float("nan"))),
        ("masked.model.recall_at_5",),
    ),
    "metrics with a figure of another kind": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["masked"]["model"].update(note="the best so far")),
        ("masked.model.note",),
    ),
    "metrics of a stranger": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["masked"].update(bert4rec=3)),
        ("masked.bert4rec",),
    ),
    "intervals of a metric that is none": (
        "register",
        changed(
            "evaluate/metrics.json",
            lambda metrics: [each.update(hits=[0, 1]) for each in metrics["intervals"].values()],
        ),
        ("intervals.model.hits",),
    ),
    "an interval that only the model has": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["intervals"]["popularity"].pop("recall_at_2")),
        ("intervals.popularity has other metrics",),
    ),
    "metrics without an interval": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["intervals"].pop("item_graph")),
        ("intervals.item_graph",),
    ),
    "metrics with a verdict of its own": (
        "register",
        changed("evaluate/metrics.json", lambda metrics: metrics["against"]["popularity"].update(recall_at_5={})),
        ("against.popularity.recall_at_5",),
    ),
    "verdict that is a list": ("register", written("validate/verdict.json", []), ("verdict.json", "validate")),
    "verdict with checks of nothing": (
        "register",
        written("validate/verdict.json", {"passed": True, "checks": [7]}),
        ("verdict.json",),
    ),
    "no aliases": ("register", gone("artifacts/shop/clean/aliases.parquet"), ("aliases.parquet",)),
    "aliases cut off": ("register", cut("clean/aliases.parquet"), ("not readable as Parquet", "aliases.parquet")),
    "no per-user results": ("register", gone("artifacts/shop/evaluate/per_user.parquet"), ("per_user.parquet",)),
    "no report": ("register", gone("artifacts/shop/evaluate/report.html"), ("report.html",)),
    "no plots": ("register", lambda root: shutil.rmtree(root / "artifacts/shop/evaluate/plots"), ("plots",)),
    "no plot in the folder": (
        "register",
        lambda root: [each.unlink() for each in (root / "artifacts/shop/evaluate/plots").iterdir()],
        ("plots",),
    ),
    "store that is no database": (
        "register",
        lambda root: (root / "mlflow.db").write_text("junk" * 4096),
        ("no SQLite file", "mlflow.db"),
    ),
    "store with broken pages": ("register", broken_pages, ("cannot be read", "mlflow.db")),
    "store of another MLflow": ("register", other_version, ("mlflow.db",)),
    "folder in place of the store": ("register", folder_in_place_of("mlflow.db"), ("mlflow.db",)),
    "no ID table to register": ("register", gone("artifacts/shop/index/id_table.parquet"), ("id_table.parquet",)),
    "no verdict to register": ("register", gone("artifacts/shop/validate/verdict.json"), ("verdict.json",)),
    "items cut off before register": ("register", cut("clean/items_clean.parquet"), ("items_clean.parquet",)),
    "pair changed before register": (
        "register",
        rewritten("train/pair/id_table.parquet", lambda table: table.reverse()),
        ("differs from the manifest",),
    ),
    "table of another catalogue": (
        "register",
        rewritten("index/id_table.parquet", lambda table: table.slice(1)),
        ("different items", "id_table.parquet"),
    ),
}
GATES = {"one ID for two items", "other words at the same tokens"}
"""Readable, but refused by a rule: exit code 3."""
UNJUDGED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "one user": (catalogue(), history(USERS[:1], ITEMS), ("1 user",)),
    "no text at all": (catalogue(lambda item: ""), history(USERS, ITEMS), ("no item has any text",)),
    "ids and no other column": (csv("item_id", *ITEMS), history(USERS, ITEMS), ("no item has any text",)),
    "all items identical": (catalogue(lambda item: "Soap"), history(USERS, ITEMS), ("same text",)),
}
