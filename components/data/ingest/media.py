"""Media of the items -> the table of media: of every view and item its file, numbers or labels.

Files are looked at by their headers: one that is no picture or sound, or is too large, is named with its reason and
counts as missing. Nothing is decoded here (the stage `views` does it), and nothing that is wrong with one stops others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from components.data.canonical.tables import RawFile
from components.data.canonical.views import MEDIA
from components.data.ingest import ids, scanning, values
from components.errors import BadInput
from components.media import pictures, sounds
from components.media.files import PICTURES, SOUNDS, Refused, Source
from components.settings.params import Ingest
from components.settings.views import Media

_SHOWN = 10
_WORDS = {
    "of_no_item": "of no item of the catalogue",
    "second_of_its_item": "second of an item that has one",
    "other_ending": f"files with another ending than {', '.join(PICTURES + SOUNDS)}",
    "outside": "files whose names leave the archive",
    "name_no_text": "files whose names are no UTF-8",
    "no_id": "without an id",
    "no_vector": "without a vector",
    "not_finite": "with a number that is none",
    "incomplete": "without one of the numbers",
}
"""What is said of those that were set aside, by reason."""
Row = dict[str, Any]


def canonical(
    settings: Ingest, raw: Path, table: pl.LazyFrame, file: RawFile, items: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table of media and facts for the report, by view. `table`: the raw item table; `items`: the canonical one.

    Raises `BadInput` for a file or column that is not there, vectors that are none, or names that fit no item.
    """
    rows, facts = [], {}
    known = items["item_id"]
    for name, medium in settings.media.items():
        found, aside = _READERS[medium.kind](medium, raw, table, file, items)
        own, seen, items_there = [], set(), set(known)
        for row in found:
            if row["item_id"] not in items_there:
                aside["of_no_item"] += 1
            elif row["item_id"] in seen:
                aside["second_of_its_item"] += 1
            else:
                seen.add(row["item_id"])
                own.append({"view": name, **row})
        if not own:
            raise BadInput(
                f"no item of the catalogue has a {name}: {_said(aside) or 'it holds nothing'}",
                where=f"ingest.media.{name}",
                mend="files are named ITEM_ID.ENDING, or as a column of the item table says (column); ids are text",
            )
        refused = [row for row in own if row.get("problem")]
        facts[name] = {
            "kind": medium.kind,
            "found": len(own) + sum(aside.values()),
            "items": len(own) - len(refused),
            "set_aside": dict(sorted(aside.items())),
            "refused": dict(Counter(str(row["problem"]).split(":")[0] for row in refused)),
            "such_as": [f"{row['file']} ({row['problem']})" for row in refused[:_SHOWN]],
        }
        rows += own
    return pl.DataFrame(rows, schema=MEDIA, orient="row").sort("view", "item_id"), facts


def in_words(facts: dict[str, Any]) -> list[str]:
    """`poster: 2 of 9,673 files cannot be used: 1 broken, 1 too many pixels (7.jpg (broken: ...)).`"""
    lines = []
    for name, about in facts.items():
        if about["set_aside"]:
            total = sum(about["set_aside"].values())
            lines.append(f"{name}: {total:,} of {about['found']:,} are set aside: {_said(about['set_aside'])}.")
        if about["refused"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in about["refused"].items())
            total, shown = sum(about["refused"].values()), ", ".join(about["such_as"])
            lines.append(f"{name}: {total:,} of {about['items'] + total:,} files cannot be used: {reasons} ({shown}).")
    return lines


def _said(aside: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {_WORDS[reason]}" for reason, count in sorted(aside.items()))


def _files(
    medium: Media, raw: Path, table: pl.LazyFrame, file: RawFile, items: pl.DataFrame
) -> tuple[Iterator[Row], Counter[str]]:
    owners: dict[str, list[str]] | None = None
    if medium.column:
        column = scanning.collect(table.select("item_id", _named(table, medium.column, file)), file)
        owners = {}
        for item_id, name in zip(ids.checked(column["item_id"], file), column[medium.column], strict=True):
            if item_id and name:
                owners.setdefault(PurePosixPath(str(name)).as_posix(), []).append(item_id)
    aside: Counter[str] = Counter()
    known = set(items["item_id"])

    def rows() -> Iterator[Row]:
        with Source.open(raw / str(medium.files)) as source:
            aside.update(source.left_out())
            for name, size in source.files():
                theirs = (
                    [PurePosixPath(name).stem]
                    if owners is None
                    else owners.get(name) or owners.get(PurePosixPath(name).name, [])
                )
                if not known.intersection(theirs):  # nothing of it is read
                    aside["of_no_item"] += 1
                    continue
                yield from ({"item_id": item_id, **looked_at(source, name, size, medium)} for item_id in theirs)

    return rows(), aside


def looked_at(source: Source, name: str, size: int, medium: Media) -> Row:
    """Kind, size, digest and problem of a file; of one that is too large nothing is read."""
    kind = "sound" if PurePosixPath(name).suffix.lower() in SOUNDS else "picture"
    row: Row = {"kind": kind, "file": name, "bytes": size}
    try:
        if size > medium.max_bytes:
            raise Refused("too many bytes", f"{size:,}")
        content = source.read(name, most=medium.max_bytes)
        row["digest"] = blake2b(content, digest_size=16).hexdigest()
        if kind == "sound":
            sounds.look(content)
        else:
            pictures.look(content, most_pixels=medium.max_pixels)
    except Refused as error:
        row["problem"] = str(error)
    return row


def _vectors(
    medium: Media, raw: Path, table: pl.LazyFrame, file: RawFile, items: pl.DataFrame
) -> tuple[Iterable[Row], Counter[str]]:
    path = raw / str(medium.vectors)
    if not path.is_file():
        raise BadInput("there is no such file of vectors", where=str(path), mend="correct ingest.media")
    owners, vectors = _of_npy(path, raw / str(medium.ids)) if medium.ids else _of_parquet(path)
    widths = sorted({len(each) for each in vectors if each is not None})
    if len(widths) != 1 or not widths[0]:
        said = f"its vectors have {widths[0]} to {widths[-1]} numbers" if len(widths) > 1 else "it holds no number"
        raise BadInput(said, where=str(path), mend="write as many numbers for each item")
    aside: Counter[str] = Counter()
    rows = []
    for item_id, vector in zip(owners, vectors, strict=True):
        if vector is None:
            aside["no_vector"] += 1
        elif item_id is None or not np.isfinite(vector).all():
            aside["no_id" if item_id is None else "not_finite"] += 1
        else:
            rows.append({"item_id": item_id, "kind": "numbers", "numbers": vector})
    return rows, aside


def _of_npy(path: Path, of_ids: Path) -> tuple[list[str | None], list[Any]]:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        names = of_ids.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError, EOFError) as error:
        mend = "write it by numpy.save as an array of numbers, and the ids as text, one a line"
        raise BadInput(f"not readable as vectors: {error}", where=f"{path} and {of_ids}", mend=mend) from error
    if not isinstance(vectors, np.ndarray):
        mend = "write it by numpy.save, and not by numpy.savez"
        raise BadInput("an archive of several arrays, and not one", where=str(path), mend=mend)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or len(vectors) != len(names):
        raise BadInput(
            f"it holds {vectors.dtype} of shape {vectors.shape}, and there are {len(names):,} ids",
            where=str(path),
            mend="an array [items, numbers], and as many ids",
        )
    return [name.strip() or None for name in names], list(np.asarray(vectors, np.float32))


def _of_parquet(path: Path) -> tuple[list[str | None], list[Any]]:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(f"not readable as Parquet: {error}", where=str(path), mend="write it again") from error
    lists = [
        name for name, kind in frame.schema.items() if isinstance(kind, pl.List | pl.Array) and kind.inner.is_numeric()
    ]
    if "item_id" not in frame.columns or len(lists) != 1:
        mend = "a column item_id, and one of lists of numbers"
        raise BadInput(f"it has {', '.join(frame.columns)}", where=str(path), mend=mend)
    found = frame.select(pl.col("item_id").cast(pl.String), pl.col(lists[0]).cast(pl.List(pl.Float32)))
    vectors = [None if each is None else np.array(each, np.float32) for each in found[lists[0]].to_list()]
    return found["item_id"].to_list(), vectors


def _numbers(
    medium: Media, raw: Path, table: pl.LazyFrame, file: RawFile, items: pl.DataFrame
) -> tuple[Iterable[Row], Counter[str]]:
    wanted = medium.numbers or []
    frame = scanning.collect(table.select("item_id", *(_named(table, name, file) for name in wanted)), file)
    records = [dict(zip(wanted, map(_of_cell, row), strict=True)) for row in frame.select(wanted).rows()]
    columns = list(dict.fromkeys(key for record in records[:1000] for key in _flat(record)))
    aside: Counter[str] = Counter()
    rows = []
    for item_id, record in zip(ids.checked(frame["item_id"], file), records, strict=True):
        flat = _flat(record)
        numbers = [flat.get(name) for name in columns]
        if item_id is None or None in numbers:
            aside["incomplete"] += 1
        else:
            rows.append({"item_id": item_id, "kind": "numbers", "numbers": numbers})
    if not columns:
        mend = "name columns with a number each, or with a record of numbers"
        raise BadInput(f"no number in {', '.join(wanted)}", where=file.shown, mend=mend)
    return rows, aside


def _of_cell(value: Any) -> Any:
    """A number, or a record of numbers, in a cell of any writing."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return values.as_record(value)
    return value


def _flat(record: dict[str, Any]) -> dict[str, float]:
    """`COLUMN` or `COLUMN.KEY` -> the number there; finite ones alone."""
    found = {}
    for name, value in record.items():
        for key, each in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(each, int | float) and not isinstance(each, bool) and np.isfinite(each):
                found[f"{name}.{key}" if key else name] = float(each)
    return found


def _labels(
    medium: Media, raw: Path, table: pl.LazyFrame, file: RawFile, items: pl.DataFrame
) -> tuple[Iterable[Row], Counter[str]]:
    name = str(medium.labels)
    if name not in items.columns:
        kept = ", ".join(column for column in items.columns if column != "item_id")
        raise BadInput(f"the items have no column {name!r}", where=file.shown, mend=f"name one of {kept}")
    found = items.select("item_id", name).drop_nulls(name)
    rows = []
    for item_id, value in found.iter_rows():
        labels = [each for each in (value if isinstance(value, list) else [value]) if each]
        rows += [{"item_id": item_id, "kind": "labels", "labels": labels}] if labels else []
    return rows, Counter()


def _named(table: pl.LazyFrame, name: str, file: RawFile) -> pl.Expr:
    found = table.collect_schema().names()
    if name not in found:
        mend = f"name one of {', '.join(found[:20])}"
        raise BadInput(f"ingest.media names a column {name!r}, which is not there", where=file.shown, mend=mend)
    return pl.col(name)


_READERS = {"files": _files, "vectors": _vectors, "numbers": _numbers, "labels": _labels}
