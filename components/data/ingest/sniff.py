"""Look at a folder of raw files and say how to read it: what `idiom init PATH` writes into params.yaml.

from components.data.ingest.sniff import suggest
found = suggest(Path("~/exports/shop").expanduser())
found["params"]  # {"dataset": "shop", "ingest": {...}, "clean": {...}}
found["lines"]   # why, for people
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any, get_args

import polars as pl

from components.data.canonical.coded import Coded
from components.data.canonical.tables import Tables
from components.data.clean import tie_order
from components.data.clean.kcore import k_core
from components.data.ingest import rawfiles, soundness, times
from components.data.ingest.conservation import in_words
from components.data.ingest.ingest import canonical, files_of, notes, reader
from components.data.ingest.interactions import OrderUnknown
from components.data.ingest.sniff_media import suggest_media
from components.data.ingest.sniff_table import SAMPLE_BYTES, suggest_table
from components.errors import BadInput
from components.settings.params import Clean, Format, Ingest

LOOKED_THROUGH = 64 * 2**20
"""Raw files of up to this many bytes in all are read whole, so that what `ingest` would refuse shows now."""
TEXT_FIELDS = ("title", "brand", "categories", "attributes", "description")
_FILLED = 0.05
_CORE = 5
_REPEATED = 0.05
"""Share of users with a repeated last item from which `init` speaks of it."""


def suggest(path: Path) -> dict[str, Any]:
    """`{"params": ..., "lines": ...}`: the keys of params.yaml that differ from the defaults, and why.

    `ingest.path` is `data/raw/NAME`: the caller links `path` there. Raises `BadInput` with what was found when no
    format fits, or with what is wrong with the data.
    """
    if path.is_file():
        raise BadInput("is a file, not a folder", where=str(path), mend=f"give its folder: {path.parent}")
    _look_deeper(path)
    name = dataset_name(path)
    with tempfile.TemporaryDirectory(prefix="idiom-init-") as scratch:
        found, lines = _format(path, Path(scratch))
        section = {**found, "path": f"data/raw/{name}"}
        params: dict[str, Any] = {"dataset": name, "ingest": section}
        lines = [f"Format: {found['format']}.", *lines]
        if sum((path / entry).stat().st_size for entry in rawfiles.tables_in(path)) <= LOOKED_THROUGH:
            more = Path(scratch) / "read"
            more.mkdir()
            clean, about, items = _clean(Ingest(**section), path, more)
            params["clean"] = clean
            media, about_media = suggest_media(path, items)
            section |= {"media": media} if media else {}
            said = {line.removeprefix("Not read: ").removeprefix("Media: ").split(";")[0] for line in about_media}
            said |= {f"{name}/" for name in said}
            lines = [line for line in lines if line.removeprefix("Not read: ").split(";")[0] not in said]
            lines += about + about_media
        else:
            lines.append(f"More than {LOOKED_THROUGH >> 20} MB: not read through; the defaults of `clean` stand.")
    return {"params": params, "lines": lines}


def dataset_name(path: Path) -> str:
    """A name that params.yaml accepts, from the name of the folder: `My Shop (2024)` -> `my-shop-2024`."""
    return re.sub(r"[^a-z0-9._]+", "-", path.resolve().name.lower()).strip("-._") or "data"


def _look_deeper(path: Path) -> None:
    """An archive often unpacks into one folder within the folder: say so. A folder `events.csv/` of parts is one."""
    if path.is_dir() and not any(entry.is_file() for entry in path.iterdir()):
        folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        if folders and not any(rawfiles.kind_of(name) and rawfiles.parts_in(path / name) for name in folders):
            raise BadInput(
                f"the folder holds only folders: {', '.join(folders[:12])}",
                where=str(path),
                mend=f"give the one with the files: idiom init {path / folders[0]}",
            )


def _format(path: Path, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """The format by the names of the files; plain tables if none of the known layouts is there."""
    names = {rawfiles.plain_name(name) for name in rawfiles.tables_in(path)}
    for name in get_args(Format):
        if name != "table" and (why := reader(name).recognised(names)) is not None:
            return {"format": name, **_quoting(name, path, scratch)}, [why]
    return suggest_table(path, scratch)


def _quoting(name: str, path: Path, scratch: Path) -> dict[str, Any]:
    """`quoting` of the delimited files that a known layout reads, where it is not the usual one. Raises `BadInput`."""
    tables = {"movies.csv": "items", "ratings.csv": "interactions"} if name == "movielens" else {}
    found = {}
    for file_name in rawfiles.names_in(path):
        table = tables.get(rawfiles.plain_name(file_name))
        if name == "amazon" and rawfiles.kind_of(file_name) == "csv":
            table = "items" if file_name.startswith("meta_") else "interactions"
        if table is None:
            continue
        file = rawfiles.prepare(path / file_name, scratch, limit=SAMPLE_BYTES)
        # The ratings of Amazon have no header, and no quotes.
        headed = any(letter.isalpha() for letter in soundness.first_line(file).split(",")[-1])
        if headed and (dialect := soundness.beginning(file, scratch, table)[1]) != "rfc4180":
            found[table] = dialect
    return {"quoting": found} if found else {}


def _clean(settings: Ingest, path: Path, scratch: Path) -> tuple[dict[str, Any], list[str], pl.Series]:
    """The `clean` section from the data as `ingest` would read them, why, and the ids of the items."""
    tables: Tables = reader(settings.format).read(settings, path, scratch)
    try:
        history, items, report = canonical(settings, tables)
    except OrderUnknown:  # said already, and not for us to decide: look at the rest
        history, items, report = canonical(dataclasses.replace(settings, order="file"), tables)
        report["interactions"]["order"] = "unknown"
    about_history = report["interactions"]
    lines = [
        f"{about_history['interactions']:,} interactions of {about_history['users']:,} users, {items.height:,} items."
    ]
    if settings.format != "table":  # of plain tables every file and column was named already
        report["files"] = files_of(path, tables, settings)
        lines = _examples(tables) + lines
    else:
        report["unused"] = {}
    lines += notes(report) + in_words(report)
    fields = [name for name in TEXT_FIELDS if name in items.columns and _filled(items[name]) >= _FILLED]
    if not fields:
        raise BadInput(
            f"no item has any text in {', '.join(TEXT_FIELDS)}",
            where=tables.items_file.shown,
            mend="textual IDs are written from text: map a text column to title in ingest.columns",
        )
    lines.append(f"Item text from: {', '.join(fields)}.")
    lines += _implausible(history) + _repeats(history)
    per_user, per_item, why = _core(history)
    lines.append(why)
    chosen = {"text_fields": fields, "min_user_interactions": per_user, "min_item_interactions": per_item}
    ties = tie_order.measure(history)
    if ties.sorted:
        chosen["ties"] = "shuffle"
        lines.append(
            f"clean.ties: shuffle, since {ties.in_words()}. A model would be paid for learning the order of ids, so "
            "the order is drawn. `file` keeps the file's, to compare with papers on such data (docs/ties.md)."
        )
    return chosen, lines, items["item_id"]


def _examples(tables: Tables) -> list[str]:
    """What the columns of a known layout are taken for, with the values of the first row."""
    lines = []
    for role, frame in (("Interactions", tables.interactions), ("Items", tables.items)):
        first = frame.head(1).collect()
        shown = [f"{name} (e.g. {str(first[name][0])[:60]!r})" for name in first.columns] if first.height else []
        lines += [f"{role}: {', '.join(shown)}"] if shown else []
    return lines


def _implausible(history: Coded) -> list[str]:
    """Times that `validate` will refuse."""
    moments = history.rows["timestamp"].drop_nulls()
    outside = len(moments) - int(moments.is_between(times.EARLIEST, times.latest()).sum())
    if not outside:
        return []
    return [f"BEWARE: {outside:,} times lie before 1990 or after tomorrow; `validate` refuses that. Is the unit right?"]


def _repeats(history: Coded) -> list[str]:
    """How many users' last item is one that they had before, and the setting that says whether that is real."""
    user = pl.col("user")
    last = user.ne_missing(user.shift(-1))
    again = ~pl.struct("user", "item").is_first_distinct()
    share = history.rows.select((last & again).sum() / last.sum()).item()
    if share < _REPEATED:
        return []
    return [
        f"{share:.0%} of the users end with an item that they had before. clean.drop_repeats: true (the default, as in "
        "the papers) keeps the first of each and recommends only new items; where people buy again, set it to false: "
        "cleaning, masking and the headline follow it."
    ]


def _filled(values: pl.Series) -> float:
    """Share of items that have something there."""
    if isinstance(values.dtype, pl.List):
        return int((values.list.len().fill_null(0) > 0).sum()) / len(values)
    return 1 - values.null_count() / len(values)


def _core(history: Coded) -> tuple[int, int, str]:
    """The 5-core of the papers where it leaves at least half of the users; else the mildest that can be split."""
    rows = history.rows.select("user", "item").unique(maintain_order=True)
    users = len(history.users)
    core, _ = k_core(rows, per_user=_CORE, per_item=_CORE)
    kept = core["user"].n_unique()
    if kept * 2 >= users:
        return _CORE, _CORE, f"{_CORE}-core, as in the papers: keeps {kept:,} of {users:,} users."
    least = Clean.__dataclass_fields__["min_user_interactions"].metadata["low"]
    mild, _ = k_core(rows, per_user=least, per_item=1)
    return (
        least,
        1,
        f"A {_CORE}-core would keep {kept:,} of {users:,} users; users with {least} interactions and all items "
        f"keep {mild['user'].n_unique():,}.",
    )
