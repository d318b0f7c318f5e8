"""`idiom init` for media: folders and zip archives whose pictures or sounds are named as the items."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from components.errors import BadInput
from components.media.files import SOUNDS, Source

_NAMED = 0.5
"""So many of the files, or of the items, have to bear the name of the other."""


def suggest_media(path: Path, items: pl.Series) -> tuple[dict[str, Any], list[str]]:
    """`ingest.media` for what lies in `path`, and lines that explain it; nothing where no file is named as an item."""
    known, media, lines = set(items), dict[str, Any](), list[str]()
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or not (entry.is_dir() or entry.suffix.lower() == ".zip"):
            continue
        try:
            with Source.open(entry) as source:
                names = [PurePosixPath(name) for name, _ in source.files()]
        except BadInput as error:
            lines.append(f"Not read: {entry.name}; {error.what}")
            continue
        if not names:
            continue
        fitting = len(known & {name.stem for name in names})
        kind = "sounds" if names[0].suffix.lower() in SOUNDS else "pictures"
        if fitting < _NAMED * min(len(names), len(known)):
            lines.append(
                f"Not read: {entry.name}; {len(names):,} {kind}, {fitting:,} of them named as items. If a column "
                f"names them: ingest.media: {{{kind[:-1]}: {{files: {entry.name}, column: ...}}}}."
            )
            continue
        media[_free(entry.stem, kind[:-1], media)] = {"files": entry.name}
        lines.append(
            f"Media: {entry.name}; {len(names):,} {kind}, of {fitting:,} of {len(known):,} items (docs/views.md)."
        )
    return media, lines


def _free(stem: str, kind: str, taken: dict[str, Any]) -> str:
    """A name that a view can have: that of the file, else of its kind, with a number where it is taken."""
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:25]
    name = name if re.match(r"[a-z]", name) and name != "relations" else kind
    return name if name not in taken else f"{name}_{len(taken)}"
