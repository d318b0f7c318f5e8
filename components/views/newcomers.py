"""Vectors of items that came after the views were made, by the bases that made those (reduce.py): for `add-items`.

of_new(["NEW1"], params.views, params.ingest, bases, raw, layout)           # {"poster": {"NEW1": vector}}
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.media.files import SOUNDS, Refused, Source
from components.progress import Progress
from components.settings.params import Ingest
from components.settings.views import Media, Views
from components.storage.layout import Layout
from components.storage.vectors import BASIS
from components.views.build import encoder_of
from components.views.encode import File, encoded
from components.views.reduce import Basis

OfItems = dict[str, NDArray[np.float32]]
"""Item -> vector."""


def of_new(
    item_ids: Collection[str], settings: Views, ingest: Ingest, bases: Path, raw: Path, layout: Layout
) -> dict[str, OfItems]:
    """View -> item -> vector, of the pictures and sounds that lie where those of the others do, named ITEM_ID.ENDING.

    A file that is refused, and a view that `bases` do not know, count as missing, as in the stage `views`, whose cache
    this shares; so does every file where a column of the item table says whose it is (`column`). Raises `BadInput` for
    a damaged basis, and for one of another encoder than `settings` name.
    """
    found: dict[str, OfItems] = {}
    for name, medium in ingest.media.items():
        basis = bases / f"{name}{BASIS}"
        if medium.files is None or medium.column or not basis.is_file() or not (raw / medium.files).exists():
            continue
        with Source.open(raw / medium.files) as source:
            known = Basis.load(basis)
            own = _files(source, medium, item_ids, sound=known.standardised)  # of files those of sounds alone
            if own:
                found[name] = _read(source, own, known, settings, medium, layout, name)
    return found


def _files(source: Source, medium: Media, item_ids: Collection[str], *, sound: bool) -> dict[str, File]:
    """The first file of each item, as `ingest` takes it, where it is of the view's kind and can be read."""
    wanted, first = set(item_ids), dict[str, tuple[str, int]]()
    for name, size in source.files():
        if (item := PurePosixPath(name).stem) in wanted:
            first.setdefault(item, (name, size))
    found = {}
    for item, (name, size) in first.items():
        if size > medium.max_bytes or name.lower().endswith(SOUNDS) != sound:
            continue
        try:
            content = source.read(name, most=medium.max_bytes)
        except Refused:
            continue
        found[item] = File(name, blake2b(content, digest_size=16).hexdigest())
    return found


def _read(
    source: Source, files: dict[str, File], basis: Basis, settings: Views, medium: Media, layout: Layout, name: str
) -> OfItems:
    work, given = layout.work("views"), list(files.values())
    work.mkdir(parents=True, exist_ok=True)
    encoder = None if basis.standardised else encoder_of(settings, work, layout.workspace)
    if encoder is not None and encoder.width != len(basis.mean):
        raise BadInput(
            f"the champion's view {name} is made of {len(basis.mean):,} numbers of a picture, and views.pictures: "
            f"{settings.pictures} reads {encoder.width:,}",
            where="params.yaml: views.pictures",
            mend="set it to what the champion was trained with, or train again: idiom retrain",
        )
    raws, problems = encoded(given, source, encoder, work, medium, settings, Progress(), f"{name}-new")
    present = np.array([row not in problems for row in range(len(given))])
    vectors = basis.read(raws, present)
    return {item: vectors[row] for row, item in enumerate(files) if present[row]}
