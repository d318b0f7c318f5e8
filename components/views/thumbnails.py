"""Small pictures of the items, for pages: of the first view that has pictures.

table = made(media, places, ingest.media, raw, side=64)        # item_id, picture

They are decoded in bounds and written anew, so that no byte of a file that was brought reaches a browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.progress import Progress
from components.settings.views import Media, Views
from components.storage.thumbnails import SCHEMA


def made(
    table: pa.Table,
    item_ids: Mapping[str, int],
    media: Mapping[str, Media],
    raw: Path,
    settings: Views,
    progress: Progress | None = None,
) -> pa.Table:
    """`table`: the media of `ingest`; `item_ids`: of whom pictures are wanted. Nobody's where there are no pictures."""
    sound = table.filter(pc.and_(pc.equal(table["kind"], "picture"), pc.is_null(table["problem"])))
    if not settings.thumbnails or not sound.num_rows:
        return SCHEMA.empty_table()
    from components.media import pictures
    from components.media.files import Refused, Source

    name = min(sound["view"].unique().to_pylist())
    medium = media[name]
    rows: list[dict[str, Any]] = []
    with Source.open(raw / str(medium.files)) as source:
        own = sound.filter(pc.equal(sound["view"], name)).select(["item_id", "file"]).to_pylist()
        for each in (progress or Progress()).track([one for one in own if one["item_id"] in item_ids], "thumbnails"):
            try:
                content = source.read(each["file"], most=medium.max_bytes)
                small = pictures.thumbnail(
                    content,
                    side=settings.thumbnails,
                    most_pixels=medium.max_pixels,
                    seconds=settings.max_seconds,
                )
            except Refused:  # counted where its vector is made
                continue
            rows.append({"item_id": each["item_id"], "picture": small})
    return pa.Table.from_pylist(rows, schema=SCHEMA)
