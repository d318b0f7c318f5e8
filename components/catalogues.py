"""The stages of further catalogues, which one model learns together with the first.

    python -m components ingest-of NAME

Each runs the stage of components/stages.py with the settings of that catalogue, whose artifacts lie under
artifacts/NAME as those of the first do. Beside them stands what the catalogues have in common: what each teaches, the
trained pair as each sees it, and how each is judged, for the report of the first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from components import stages
from components.errors import unknown
from components.settings.params import Params
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.layout import Layout


def run(stage: str, workspace: Path, params: Params, name: str) -> None:
    """Run one of `STAGES` for a further catalogue. Raises `StageError`, as the stage does."""
    if name not in params.catalogues:
        raise unknown("catalogue", name, params.catalogues, where="params.yaml: catalogues")
    STAGES[stage](workspace, params, name)


def remove_gone(workspace: Path, params: Params) -> list[str]:
    """Remove what catalogues that params.yaml no longer has left for `train` and `evaluate`, and say which.

    Both read folders, in which DVC would go on seeing it; the catalogues' own artifacts stay."""
    layout = Layout(workspace, params.dataset)
    gone = list[str]()
    for folder in (layout.taught_by_first.parent, layout.judged_on("").parent):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = path.name.removesuffix(".json")
            if name not in (params.dataset, *params.catalogues) and not name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                gone.append(name)
    return sorted({*gone})


def ingest(workspace: Path, params: Params, name: str) -> None:
    """Its raw files -> its canonical tables."""
    stages.ingest(workspace, params.of(name))


def validate(workspace: Path, params: Params, name: str) -> None:
    """Its canonical tables -> its verdict; raises `GateRefused` on a critical failure."""
    stages.validate(workspace, params.of(name))


def clean(workspace: Path, params: Params, name: str) -> None:
    """Its canonical tables -> its clean tables, and those of them that a training may read, in a folder without test
    targets."""
    from components.training.job import ABOUT

    own, all_of = params.catalogues[name], Layout(workspace, params.dataset)
    stages.clean(workspace, params.of(name))
    layout = Layout(workspace, name)
    with publishing(all_of.taught_by(name)) as folder:
        folder.mkdir()
        for path in (layout.items_clean, layout.histories, layout.valid_targets):
            shutil.copyfile(path, folder / path.name)
        publish_json(folder / ABOUT, {"weight": own.weight, "drop_repeats": own.clean.drop_repeats})


def index(workspace: Path, params: Params, name: str) -> None:
    """The trained pair -> the pair as this catalogue sees it, and its published ID table."""
    from components.recommender.pair import of_catalogue
    from components.storage.manifest import sha256

    layout = Layout(workspace, name)
    taught = {each: sha256(getattr(layout, each)) for each in ("histories", "valid_targets")}
    with publishing(layout.pair) as folder:
        of_catalogue(Layout(workspace, params.dataset).pair, name, folder, {"learned_from": taught})
    stages.index(workspace, params.of(name))


def rank(workspace: Path, params: Params, name: str) -> None:
    """Its histories and validation targets -> its voices and ranker."""
    stages.rank(workspace, params.of(name))


def evaluate(workspace: Path, params: Params, name: str) -> None:
    """The one look at its test set; its figures go into the report of the first catalogue as well."""
    from components.evaluation.together import brief

    stages.evaluate(workspace, params.of(name))
    metrics = read_json(Layout(workspace, name).metrics)
    publish_json(Layout(workspace, params.dataset).judged_on(name), brief(metrics))


STAGES: dict[str, Callable[[Path, Params, str], None]] = {
    "ingest-of": ingest,
    "validate-of": validate,
    "clean-of": clean,
    "index-of": index,
    "rank-of": rank,
    "evaluate-of": evaluate,
}
