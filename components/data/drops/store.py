"""The store of drops of one data set: `data/drops/DATASET`, a folder for each drop and the record of deletions.

    store = Store.of(workspace, "shop")
    with store.publishing(sha256) as folder: ...     # one rename
    for drop in store.drops(): drop.interactions, drop.items

A drop is immutable: `drop.json`, and `interactions.parquet` and `items.parquet` where it has any. What has to change in
several drops at once (a deletion) exchanges the whole folder of the store in one step.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import polars as pl

from components.data.canonical import coded
from components.data.drops.forgotten import FORGOTTEN, Forgotten
from components.errors import BadInput
from components.storage.artifacts import publishing, read_json
from components.storage.lock import locked

DROPS = Path("data", "drops")
QUARANTINE = Path("data", "quarantine")
FACTS, INTERACTIONS, ITEMS = "drop.json", "interactions.parquet", "items.parquet"
_NEEDED: dict[str, coded.Kind] = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("us", "UTC")}
_NAME = 16


@dataclass(frozen=True)
class Drop:
    """What one drop brought, as canonical tables."""

    folder: Path
    facts: dict[str, Any]
    """`number` (order of arrival), `sha256` (of its raw files), `name`, `at`, `by`, `settings`, `counts`."""

    @property
    def number(self) -> int:
        return int(self.facts["number"])

    @property
    def sha256(self) -> str:
        return str(self.facts["sha256"])

    @cached_property
    def interactions(self) -> pl.DataFrame | None:
        """`user_id`, `item_id`, `timestamp`, and `rating` and `weight` if there are some; None where it has none."""
        path = self.folder / INTERACTIONS
        return coded.collect(coded.scan(path, _NEEDED), path) if path.is_file() else None

    @cached_property
    def items(self) -> pl.DataFrame | None:
        """Rows of the canonical item table; None where it has none."""
        path = self.folder / ITEMS
        return coded.collect(coded.scan(path, {"item_id": pl.String}), path) if path.is_file() else None


@dataclass(frozen=True)
class Store:
    """Where the drops of a data set lie, and where those lie that were refused."""

    folder: Path
    quarantine: Path

    @classmethod
    def of(cls, workspace: Path, dataset: str) -> Self:
        return cls(workspace / DROPS / dataset, workspace / QUARANTINE / dataset)

    def drops(self) -> list[Drop]:
        """All drops in the order of their arrival. Raises `BadInput` for a damaged one."""
        found = []
        for path in sorted(self.folder.glob(f"[!.]*/{FACTS}")):
            facts = read_json(path)
            if not isinstance(facts, dict) or not {"number", "sha256"} <= set(facts):
                raise BadInput(
                    "not what `idiom ingest --append` writes", where=str(path), mend="dvc checkout data/drops"
                )
            found.append(Drop(path.parent, facts))
        return sorted(found, key=lambda drop: drop.number)

    def find(self, sha256: str) -> Drop | None:
        """The drop with these raw files, if it is there."""
        return next((drop for drop in self.drops() if drop.sha256 == sha256), None)

    def forgotten(self) -> Forgotten:
        return Forgotten.read(self.folder / FORGOTTEN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who changes the store; what a killed one left half done is removed.

        Raises `BadInput` where another one is at it, for ten minutes."""
        mend = "wait until the other `idiom ingest --append` or `idiom forget` has ended"
        busy = BadInput("another command changes the drops of this data set", where=str(self.folder), mend=mend)
        lock = self.folder.parents[2] / "work" / f"drops-{self.folder.name}.lock"
        with locked(lock, busy, seconds=600.0):
            for place, pattern in ((self.folder, ".*.tmp"), (self.folder.parent, f".{self.folder.name}.*.tmp")):
                for left in place.glob(pattern):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield

    def publishing(self, sha256: str) -> AbstractContextManager[Path]:
        """A temporary folder that becomes the folder of a drop in one step."""
        return publishing(self.folder / sha256[:_NAME])

    @contextmanager
    def exchanging(self) -> Iterator[Self]:
        """A copy of the store that takes its place in one step, whole."""
        with publishing(self.folder) as temporary:
            if self.folder.is_dir():
                shutil.copytree(self.folder, temporary, ignore=shutil.ignore_patterns(".*"))
            else:
                temporary.mkdir()
            yield type(self)(temporary, self.quarantine)


def write(table: pl.DataFrame, path: Path) -> None:
    """Parquet with fixed settings: the same table gives the same bytes."""
    table.write_parquet(path, compression="zstd", compression_level=3, statistics=True)
