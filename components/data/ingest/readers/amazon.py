"""Amazon reviews and metadata as the McAuley lab publishes them, in the 2014, 2018 and 2023 layouts.

    2014  reviews_Beauty_5.json.gz   meta_Beauty.json.gz     metadata are Python dicts, one a line, not JSON
    2018  All_Beauty_5.json.gz       meta_All_Beauty.json.gz  prices and titles may hold page source
    2023  All_Beauty.jsonl.gz        meta_All_Beauty.jsonl.gz items are `parent_asin`, times are milliseconds

    2014  ratings_Beauty.csv          user, item, rating, time, without a header
    2018  All_Beauty.csv              item, user, rating, time, without a header

The layout is read off the keys; in a file without a header items are the column of ten characters. So
files of different years mix as long as their ids do.
"""

from __future__ import annotations

import ast
import codecs
import dataclasses
import json
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical.tables import BOTH, RawFile, Tables, no_file, nothing
from components.data.ingest import rawfiles, scanning, soundness
from components.errors import BadInput
from components.settings.params import Ingest

REVIEW_KEYS = {
    "user_id": ("user_id", "reviewerID"),
    "item_id": ("parent_asin", "asin"),
    "timestamp": ("timestamp", "unixReviewTime"),
    "rating": ("rating", "overall"),
}
ITEM_KEYS = {
    "item_id": ("parent_asin", "asin"),
    "title": ("title",),
    "brand": ("brand", "store"),
    "categories": ("categories", "category"),
    "description": ("description",),
    "price": ("price",),
    "attributes": ("features", "feature"),
    "image_url": ("imUrl", "imageURLHighRes", "imageURL", "images"),
}
_ASIN_LENGTH = 10
"""Of every Amazon product code, and of an ISBN in its place; ids of users have 12 to 21 characters."""
_LOOKED_AT = 1000
"""Lines that tell items from users."""
_WANTED = {key for keys in ITEM_KEYS.values() for key in keys}


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    if any(name.startswith("meta_") for name in names):
        return "A meta_ file beside reviews is an Amazon data set."
    return None


def parts(settings: Ingest, raw: Path, scratch: Path) -> dict[str, list[str]]:
    """Which files of a folder are `items` (meta_...) and which `interactions`; absent where there are none."""
    found: dict[str, list[str]] = {}
    for name in rawfiles.names_in(raw):
        if rawfiles.kind_of(name) is not None:
            found.setdefault("items" if name.startswith("meta_") else "interactions", []).append(name)
    return found


def read(settings: Ingest, raw: Path, scratch: Path, wanted: Collection[str] = BOTH) -> Tables:
    """Scan reviews and metadata, or the one `wanted`.

    Raises `BadInput` for a missing file or key, or a line that is no record.
    """
    items_paths: list[Path] = []
    items, items_file = nothing(), no_file(raw)
    interactions, interactions_file = nothing(), no_file(raw)
    facts, unused = dict[str, Any](), dict[str, list[str]]()
    if "items" in wanted:
        items_paths = _named(raw, settings.items, "items") or [_metadata(raw)]
    if "interactions" in wanted:
        paths = _named(raw, settings.interactions, "interactions") or [_reviews(raw, items_paths)]
        reviews, interactions_file = scanning.table(
            paths,
            scratch,
            key="interactions",
            header=_ratings_header(paths[0], scratch),
            quoting=settings.quoting.get("interactions"),
        )
        interactions, unused["interactions"] = _selected(
            reviews, REVIEW_KEYS, ("user_id", "item_id"), interactions_file
        )
    if "items" in wanted:
        metadata, items_file, facts["metadata"] = _metadata_table(items_paths, scratch, settings)
        items, unused["items"] = _selected(metadata, ITEM_KEYS, ("item_id",), items_file)
        items = _mended(items)
    return Tables(items, interactions, items_file, interactions_file, facts, unused)


def _named(raw: Path, names: str | list[str] | None, key: str) -> list[Path] | None:
    return None if names is None else rawfiles.locate(raw, names, (), key=key)


def _metadata(raw: Path) -> Path:
    names = [name for name in rawfiles.names_in(raw) if name.startswith("meta_")]
    return _only(raw, names, "meta_CATEGORY.json.gz or .jsonl.gz", key="items")


def _reviews(raw: Path, items: list[Path]) -> Path:
    names = [
        name
        for name in rawfiles.names_in(raw)
        if not name.startswith("meta_") and raw / name not in items and rawfiles.kind_of(name) in ("jsonl", "csv")
    ]
    return _only(raw, names, "reviews_CATEGORY_5.json.gz, CATEGORY.json.gz or CATEGORY.jsonl.gz", key="interactions")


def _ratings_header(path: Path, scratch: Path) -> list[str] | None:
    """Names of the four columns of a CSV file of ratings without a header; None for any other file.

    Raises `BadInput` where neither column, or both, could be the items: 2014 has users first, 2018 has items first.
    """
    if rawfiles.kind_of(path.name) != "csv":
        return None
    file = rawfiles.prepare(path, scratch, limit=_LOOKED_AT * 100)
    with file.path.open(encoding="utf-8", errors="replace") as stream:
        rows = [line.strip().split(",") for line in islice(stream, _LOOKED_AT)]
    if not rows or not _is_rating(rows[0]):
        return None
    asins = [all(len(row[place]) == _ASIN_LENGTH for row in rows if len(row) == 4) for place in (0, 1)]
    if asins[0] == asins[1]:
        raise BadInput(
            "a file of ratings without a header, whose items cannot be told from its users",
            where=file.shown,
            mend="write a first line: user_id,asin,rating,timestamp in the order of its columns",
        )
    return [*(("asin", "user_id") if asins[0] else ("user_id", "asin")), "rating", "timestamp"]


def _is_rating(row: list[str]) -> bool:
    """user, item, 5.0, 1369699200"""
    return len(row) == 4 and row[2].replace(".", "", 1).isdigit() and row[3].isdigit()


def _only(raw: Path, names: list[str], expected: str, *, key: str) -> Path:
    if len(names) != 1:
        found = f"{len(names)} files could be the {key}: {', '.join(names)}" if names else f"no file is the {key}"
        mend = (
            f"name it in ingest.{key}; expected {expected}; the folder holds: {', '.join(rawfiles.names_in(raw)[:12])}"
        )
        raise BadInput(found, where=str(raw), mend=mend)
    return raw / names[0]


def _selected(
    frame: pl.LazyFrame, keys: Mapping[str, tuple[str, ...]], required: tuple[str, ...], file: RawFile
) -> tuple[pl.LazyFrame, list[str]]:
    """The canonical columns, each from the first of its keys that is there; and the columns that none is taken from."""
    names = frame.collect_schema().names()
    chosen: dict[str, str] = {}
    for canonical, candidates in keys.items():
        present = [key for key in candidates if key in names]
        if present:
            chosen[canonical] = present[0]
        elif canonical in required:
            raise BadInput(
                f"no key {' or '.join(candidates)} (for {canonical}); found: {', '.join(names)}",
                where=file.shown,
                mend="check ingest.items and ingest.interactions: the first is the metadata, the second the reviews",
            )
    return frame.select(**chosen), [name for name in names if name not in chosen.values()]


def _metadata_table(paths: list[Path], scratch: Path, settings: Ingest) -> tuple[pl.LazyFrame, RawFile, str]:
    """The metadata, their file, and whether they were JSON (or a table) or Python dicts."""
    quoting = settings.quoting.get("items")
    if not any(_is_python(path) for path in paths):
        return *scanning.table(paths, scratch, key="items", quoting=quoting), "json"
    files = [_as_json(rawfiles.prepare(path, scratch), scratch) for path in paths]
    frame, _ = scanning.table([file.path for file in files], scratch, key="items")
    return frame, rawfiles.together(files), "python"


def _is_python(path: Path) -> bool:
    with rawfiles.opened(path) as stream:
        return stream.readline().removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{'", b"{u'"))


def _as_json(file: RawFile, scratch: Path) -> RawFile:
    """2014 metadata as JSON lines. `ast.literal_eval` reads literals only: nothing in the file is ever executed."""
    folder = scratch / f"strict-{len(list(scratch.iterdir()))}"
    folder.mkdir()
    target = folder / "metadata.jsonl"
    with file.path.open(encoding="utf-8") as stream_in, target.open("w", encoding="utf-8") as stream_out:
        try:
            for number, line in enumerate(stream_in, start=1):
                if line.strip():
                    record = _record(line, number, file)
                    wanted = {key: value for key, value in record.items() if key in _WANTED}
                    stream_out.write(json.dumps(wanted, ensure_ascii=False) + "\n")
        except UnicodeDecodeError as error:
            raise BadInput("not UTF-8", where=file.shown, mend="get a whole copy of it") from error
    counted = soundness.checked(dataclasses.replace(file, kind="jsonl"), scratch, key="items")
    return dataclasses.replace(counted, path=target)


def _record(line: str, number: int, file: RawFile) -> dict[str, Any]:
    for read_literal in (ast.literal_eval, json.loads):
        try:
            value = read_literal(line.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    raise BadInput(
        f"line {number} is neither a Python dict nor a JSON object",
        where=f"{file.shown}, line {number}",
        mend="get a whole copy of the file, or remove that line",
    )


def _mended(items: pl.LazyFrame) -> pl.LazyFrame:
    """Undo what the crawl left in the fields; the values are still text here, lists among them as JSON."""
    mends = {
        # Page source in place of a title: `var aPageStart = (new Date()).getTime();` (2018).
        "title": pl.when(~pl.col("title").str.contains("getTime", literal=True)).then("title"),
        "brand": pl.col("brand").str.replace(r"^\s*by\s*\n\s*", ""),
        # The category path ends at "</span></span></span>"; what follows are feature bullets (2018).
        "categories": pl.col("categories").str.replace(r'(?s),\s*"</span>.*$', "]"),
        "image_url": pl.coalesce(
            pl.col("image_url").str.extract(r'"large":\s*"(https?://[^"\s]+)'),
            pl.col("image_url").str.extract(r'(https?://[^"\s]+)'),
        ),
    }
    names = items.collect_schema().names()
    return items.with_columns(**{name: mend for name, mend in mends.items() if name in names})
