"""The models that benchmarks/adaptation.py adapts: taught on several catalogues by the stages of the graph."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.shop import only
from components import catalogues, stages
from components.data.ingest.sniff import suggest
from components.errors import BadInput
from components.settings.file import from_dict
from components.storage.artifacts import read_json
from components.storage.layout import Layout


def teach(chosen: argparse.Namespace) -> dict[str, Any]:
    """Train one model on several catalogues in the workspace `--start`, by the stages of the graph."""
    workspace: Path = chosen.start
    categories = {name_of(each): each.partition(":")[2] for each in chosen.teach}
    first, *further = [_catalogue(workspace, chosen.data, each, chosen.sample_users) for each in chosen.teach]
    own = {"dataset": first.pop("dataset"), **first, "catalogues": {each.pop("dataset"): each for each in further}}
    small = {
        "family": "decoder-only",
        "size": chosen.size,
        "vocabulary_size": 3000,
        "rounds": 1,
        "schedule": chosen.schedule,
    }
    how = {"epochs": chosen.epochs, "batch_size": 16, "lr": 2e-3, "valid_users": 300, "valid_beams": 5}
    own["train"] = {**small, "generator": {"cold_start_steps": 500}, "recommender": how}
    own["index"] = {"candidates": 4, "groups": 4}
    params = from_dict(own)
    for stage in ("ingest", "validate", "clean"):
        stages.run(stage, workspace, params)
        for name in params.catalogues:
            catalogues.run(f"{stage}-of", workspace, params, name)
        for name in categories if stage == "ingest" else ():
            only(Layout(workspace, name), categories[name])
    (workspace / "params.json").write_text(json.dumps(own))
    stages.run("train", workspace, params)
    stages.run("index", workspace, params)
    facts = read_json(start_of(workspace) / "pair.json")
    return {key: facts.get(key) for key in ("catalogues", "valid", "epoch", "items")}


def name_of(asked: str) -> str:
    """Of a folder or FOLDER:CATEGORY, as a name of a catalogue."""
    return re.sub(r"[^a-z0-9]+", "-", asked.lower().removeprefix("amazon-"))


def _catalogue(workspace: Path, data: Path, asked: str, sample_users: int) -> dict[str, Any]:
    """The settings of one catalogue, as `idiom init` would write them, its files linked into the workspace."""
    raw = data / asked.partition(":")[0]
    found = suggest(raw)["params"]
    link = workspace / "data" / raw.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(raw.resolve(), target_is_directory=True)
    kept = {key: found[key] for key in ("ingest", "clean", "validate") if key in found}
    kept["ingest"]["path"] = f"data/{raw.name}"
    kept.setdefault("clean", {})["sample_users"] = sample_users
    return {"dataset": name_of(asked), **kept}


def start_of(workspace: Path) -> Path:
    """The pair that `teach` left. Raises `BadInput` where there is none."""
    if not (workspace / "params.json").is_file():
        mend = "python -m benchmarks.adaptation --teach SOURCE ... teaches one; --ways without any does without"
        raise BadInput("there is no model to adapt", where=str(workspace), mend=mend)
    return Layout(workspace, read_json(workspace / "params.json")["dataset"]).pair
