"""Reads a drop of new data by the reader and the settings of the history: a file, a folder, or a URL that fsspec knows.

    with brought("s3://bucket/2024-05-01/") as drop:
        read = read_drop(settings, drop)               # its tables, in canonical form
        read.interactions, read.items, read.accounts

A drop is copied first, so that what is read is what its hash was taken of.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical.tables import BOTH
from components.data.ingest import catalogue, conservation, interactions
from components.data.ingest.ingest import reader
from components.errors import BadInput, first_line
from components.settings.params import Ingest
from components.storage.manifest import digest, sha256


@dataclass(frozen=True)
class Brought:
    """A drop as it came, copied."""

    name: str
    folder: Path

    def sha256(self) -> str:
        """What identifies it: the SHA-256 of the contents of its files, whatever they are called."""
        return digest(sorted(sha256(path) for path in self.folder.rglob("*") if path.is_file()))


@dataclass(frozen=True)
class Read:
    """The tables of a drop, None where it has none, and the account of its records."""

    interactions: pl.DataFrame | None
    """`user_id`, `item_id`, `timestamp`, and `rating` and `weight` if it has them."""
    items: pl.DataFrame | None
    accounts: dict[str, Any]
    """Table -> `records`, `kept`, `set_aside` by reason, `such_as`."""


@contextmanager
def brought(drop: str) -> Iterator[Brought]:
    """A copy of a file, of a folder, or of what lies at a URL (`s3://bucket/folder`), for as long as the block runs.

    Raises `BadInput` where there is nothing, or where it cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="idiom-drop-") as scratch:
        folder = Path(scratch) / "drop"
        folder.mkdir()
        _fetch(drop, folder) if "://" in drop else _copy(Path(drop), folder)
        if not any(path.is_file() for path in folder.rglob("*")):
            raise BadInput("the drop is empty", where=drop, mend="name a file, a folder or a URL that holds data")
        yield Brought(drop.rstrip("/").rpartition("/")[2] or drop, folder)


def read_drop(settings: Ingest, drop: Brought) -> Read:
    """The tables in canonical form. Raises what `ingest` raises for raw data, and `BadInput` for a format or a drop
    whose interactions have no times to be put in order by."""
    settings = _plain(settings)
    source = reader(settings.format)
    if not hasattr(source, "parts"):
        mend = "bring the whole data again, or use the format table, recbole or amazon"
        raise BadInput(f"data of the format {settings.format} take no drops", where=drop.name, mend=mend)
    with tempfile.TemporaryDirectory(prefix="idiom-drop-") as scratch:
        parts = source.parts(settings, drop.folder, Path(scratch))
        if not parts:
            mend = "name its files as those of the history, or take what is no table out of it"
            raise BadInput("no file of the drop is a table that the history's reader knows", where=drop.name, mend=mend)
        found = replace(settings, **{name: parts.get(name) for name in BOTH})
        tables = source.read(found, drop.folder, Path(scratch), tuple(parts))
        accounts: dict[str, Any] = {}
        history, items = None, None
        if "interactions" in parts:
            coded, facts = interactions.canonical(tables.interactions, tables.interactions_file, settings)
            accounts["interactions"] = conservation.reconciled(tables.interactions_file, facts, kept=coded.rows.height)
            history = interactions.decoded(coded).drop("position").collect()
        if "items" in parts:
            nobody = pl.Series("item_id", [], pl.String)
            items, facts = catalogue.canonical(tables.items, tables.items_file, settings, interacted=nobody)
            accounts["items"] = conservation.reconciled(tables.items_file, facts, kept=items.height)
    return Read(history, items, accounts)


def _plain(settings: Ingest) -> Ingest:
    """The settings of a drop: the demo shop, which is generated, takes plain tables under the canonical names."""
    return Ingest(format="table") if settings.format == "demo" else settings


def _copy(source: Path, folder: Path) -> None:
    if source.is_file():
        shutil.copy2(source, folder / source.name)
    elif source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    else:
        raise BadInput("there is no such drop", where=str(source), mend="name a file, a folder or a URL")


def _fetch(url: str, folder: Path) -> None:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
        if system.isfile(path):
            system.get_file(path, str(folder / Path(path).name))
            return
        root = path.rstrip("/")
        for each in system.find(root):
            target = (
                folder / Path(each).relative_to(root) if Path(each).is_relative_to(root) else folder / Path(each).name
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(each, str(target))
    except (OSError, ValueError, ImportError) as error:
        mend = "check the address and its credentials (the environment of the store's own client)"
        raise BadInput(f"the drop cannot be fetched: {first_line(error)}", where=url, mend=mend) from error
