"""`idiom compare A B [C ...]`: versions, aliases, runs, folders of artifacts, a model and its baselines, on one page.

A side is a version number or an alias of the registered model, a run id, a folder (artifacts/DATASET or a workspace),
or a contender of this workspace's own evaluation (`model`, `item_graph`, ...); `SIDE:item_graph` is the baseline that
was evaluated beside it. The first one is the reference.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from components.errors import BadInput
from components.evaluation.comparison.compare import Comparison, compare
from components.evaluation.comparison.findings import findings
from components.evaluation.comparison.first_screen import answer
from components.evaluation.comparison.page import page
from components.evaluation.comparison.sides import Side, read
from components.evaluation.contenders import CONTENDERS, MODEL
from components.registry.cost import TAG as COST
from components.settings.file import load
from components.settings.params import Params
from components.storage.artifacts import publish_json, publishing
from components.storage.layout import Layout

_TAGS = {"idiom.git_commit": "commit", "idiom.dvc_lock": "dvc.lock", "idiom.dataset": "dataset"}
_LIBRARIES = ("idiom", "numpy", "polars")


@dataclass(frozen=True)
class Compared:
    """What `idiom compare` made."""

    found: Comparison
    page: Path
    sentence: str
    figures: str
    shown: str
    """Where MLflow shows the page, after the address of its server; empty where the second side is none of its."""


def compare_sides(workspace: Path, params: Params, names: Sequence[str], out: Path | None, *, sample: int) -> Compared:
    """Compare, write the page and beside it the findings as JSON, and log the page to the run of the second side.

    Raises `BadInput` for a name that means nothing, and for sides that cannot be compared.
    """
    if out is not None and out.suffix == ".json":
        what = "the figures are written beside the page under that name"
        raise BadInput(what, where=str(out), mend=f"name the page: --out {out.with_suffix('.html')}")
    workspace = workspace.resolve()
    read_sides = [_side(workspace, params, name) for name in names]
    sides = [side for side, _ in read_sides]
    found = compare(sides, seed=params.seed)
    path = out or _default(workspace, params, names)
    text = page(found, dataset=params.dataset, provenance=_provenance(sides, names, params), sample=sample)
    with publishing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    publish_json(path.with_suffix(".json"), findings(found))
    shown = ""
    if run_id := read_sides[1][1]:
        from components.registry.comparable import log_page

        shown = log_page(workspace, run_id, path)
    said = answer(found)
    return Compared(found, path, said["sentence"], said["figures"], shown)


def _side(workspace: Path, params: Params, name: str) -> tuple[Side, str]:
    """(the side, its run id if it is in MLflow)."""
    before, _, after = name.rpartition(":")
    place, who = (before, after) if before and after in CONTENDERS else (name, MODEL)
    if place in CONTENDERS:
        from components.registry.lineage import tags

        layout = Layout(workspace, params.dataset)
        label = "what is trained here" if place == MODEL else CONTENDERS[place].label
        return read(layout.root, place, name=label, facts=tags(layout)), ""
    beside = "" if who == MODEL else f", {CONTENDERS[who].label}"
    if Path(place).is_dir():
        folder = _artifacts(Path(place))
        return read(folder, who, name=f"{place}{beside}"), ""
    from components.registry.comparable import comparable

    source = comparable(workspace, params, place)
    return read(source.folder, who, name=f"{source.label}{beside}", facts=source.facts), source.run_id


def _artifacts(folder: Path) -> Path:
    """The artifacts of the dataset of a workspace, or the folder itself."""
    if (folder / "params.yaml").is_file():
        return Layout(folder, load(folder / "params.yaml").dataset).root
    return folder


def _default(workspace: Path, params: Params, names: Sequence[str]) -> Path:
    short = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "here" for name in names)
    return Layout(workspace, params.dataset).root / "compare" / f"{short[:150]}.html"


def _provenance(sides: Sequence[Side], names: Sequence[str], params: Params) -> list[Mapping[str, str]]:
    lines = []
    for side in sides:
        known = [f"{what} {side.facts[tag][:12]}" for tag, what in _TAGS.items() if side.facts.get(tag)]
        known += [f"{key} {side.protocol[key]}" for key in ("training", "seed", "ties") if key in side.protocol]
        lines.append({"text": f"{side.name}: {', '.join(known)}."})
        if cost := side.facts.get(COST):
            lines.append({"text": f"{side.name} cost {cost}."})
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    made = f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with {libraries}, seed {params.seed}; made again by"
    return [*lines, {"text": made, "code": shlex.join(["idiom", "compare", *names])}]
