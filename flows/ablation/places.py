"""Make the workspaces of a grid: one for the data, one per training, one per evaluation, joined by hard links.

    work/ablate/GRID/data/KEY        ingest, validate, views and clean, once for all cells that need the same data
    work/ablate/GRID/trained/KEY     train and index; the test targets are not there, so nothing can open them
    work/ablate/GRID/judged/KEY      evaluate

A key is the hash of everything that decides what comes out, so an edited grid keeps what it can and redoes the rest.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

from components.errors import BadInput
from components.settings.params import Params, to_dict
from components.storage.artifacts import publishing
from components.storage.layout import Layout
from components.storage.manifest import digest, sha256
from flows.ablation.grid import Cell, has_views

On = Literal["valid", "test"]
_CODE = Path(__file__).resolve().parents[2] / "components"


def data_params(cell: Cell, base: Params) -> Params:
    """What the data of a cell are made with: the base, with the cell's own views where the language model reads them.

    All others need the texts without words of views, and share them: their views are made where they are judged.
    """
    return replace(base, views=cell.params.views if cell.has_door else replace(base.views, words=[], control={}))


def data_place(params: Params, root: Path, workspace: Path) -> Path:
    """The workspace of the data stages, made if need be. Reads all raw files, to know whether they changed."""
    inputs = [_needed(workspace, name) for name in _read_by_views(params)]
    sections = {name: to_dict(getattr(params, name)) for name in ("ingest", "validate", "views", "clean")}
    code = [sha256(file) for room in ("data", "media", "views") for file in sorted((_CODE / room).rglob("*.py"))]
    facts = [params.dataset, params.seed, sections, code, *(sha256(each) for each in inputs)]
    place = root / "data" / digest(facts)[:16]
    write_params(place, params)
    for name in _read_by_views(params):
        link_input(place, workspace, name)
    encoded = Layout(place, params.dataset).work("views")
    for other in sorted((root / "data").iterdir()):
        theirs = Layout(other, params.dataset).work("views")
        if theirs.is_dir() and not encoded.is_dir():  # pictures are encoded once for all data of the grid
            _link(theirs, encoded)
    return place


def training_key(cell: Cell, workspace: Path, data: Path) -> str:
    """What decides a cell's training; cells that differ in `evaluate` alone have the same."""
    from components.training.key import train_key

    for name in given(cell, workspace):
        link_input(data, workspace, name)
    return train_key(Layout(data, cell.params.dataset), cell.params)


def training_place(cell: Cell, key: str, root: Path, workspace: Path, data: Path, experiment: str) -> Path:
    """The workspace of a training, made if need be."""
    place = root / "trained" / key[:16]
    have, want = (Layout(each, cell.params.dataset) for each in (data, place))
    for name in ("items_clean", "histories", "valid_targets", "verdict"):
        _link(getattr(have, name), getattr(want, name))
    if cell.params.train.views:
        _link(have.views, want.views)
    for name in given(cell, workspace):
        link_input(place, workspace, name)
    register = replace(cell.params.register, experiment=experiment)
    write_params(place, replace(cell.params, register=register))
    return place


def given(cell: Cell, workspace: Path) -> list[str]:
    """Files and folders of the workspace that a training reads beside its tables: given IDs, the pair that it goes on
    from, models and word vectors that are none of the hub."""
    train = cell.params.train
    models = [*train.pretrained, *filter(None, [train.word_vectors])]
    found = [
        *filter(None, [train.imported_ids, train.start]),
        *(name for name in models if (workspace / name).exists()),
    ]
    return list(dict.fromkeys(found))


def judged_place(cell: Cell, root: Path, data: Path, trained: Path, base_seed: int, on: On, workspace: Path) -> Path:
    """The workspace of a cell's evaluation; `on` says which targets are judged by, and the others are not there.

    Everybody is judged with the base's seed: it draws `evaluate.max_users`, who must be the same for all.
    """
    params = replace(cell.params, seed=base_seed)
    code = [sha256(file) for room in ("evaluation", "recommender") for file in sorted((_CODE / room).rglob("*.py"))]
    facts = [trained.name, to_dict(params.evaluate), base_seed, on, code]
    if has_views(params):
        rooms = ("media", "views", "voices", "ranking")
        facts += [to_dict(params.views), to_dict(params.rank)]
        facts += [sha256(file) for room in rooms for file in sorted((_CODE / room).rglob("*.py"))]
    place = root / "judged" / digest(facts)[:16]
    have, made, want = (Layout(each, params.dataset) for each in (data, trained, place))
    for name in ("items_clean", "histories", "valid_targets"):
        _link(getattr(have, name), getattr(want, name))
    _link(have.test_targets if on == "test" else have.valid_targets, want.test_targets)
    if has_views(params):
        for name in ("items", "interactions", "relations", "media", "aliases"):
            _link(getattr(have, name), getattr(want, name))
        if cell.has_door:
            for name in ("views", "view_words", "thumbnails", "views_report"):
                _link(getattr(have, name), getattr(want, name))
        if have.work("views").is_dir():  # pictures that are encoded already
            _link(have.work("views"), want.work("views"))
        for name in _read_by_views(params):
            link_input(place, workspace, name)
    _link(made.id_table, want.id_table)
    _link(made.pair, want.pair)
    write_params(place, params)
    return place


def _read_by_views(params: Params) -> list[str]:
    """Folders of the workspace that the stages `ingest` and `views` read: raw files, and a model of pictures."""
    return [params.ingest.path, *filter(None, [params.views.model])]


def write_params(place: Path, params: Params) -> None:
    """The settings of a workspace, all of them."""
    import yaml

    with publishing(place / "params.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(to_dict(params), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none; stages replace files and never write into them."""
    if source.is_dir():
        for file in sorted(source.rglob("*")):
            if file.is_file():
                _link(file, target / file.relative_to(source))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_input(place: Path, workspace: Path, name: str) -> None:
    """The user's file or folder `name` under the same name in `place`, as a symbolic link. Raises `BadInput`."""
    source = _needed(workspace, name)
    link = place / name
    if not link.exists():  # it may lie in a folder that is linked already
        link.unlink(missing_ok=True)  # a link to where the workspace was before it was moved
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source.resolve())


def _needed(workspace: Path, name: str) -> Path:
    if not (workspace / name).exists():
        raise BadInput("there is no such input", where=str(workspace / name), mend="put it there, or name another one")
    return workspace / name
