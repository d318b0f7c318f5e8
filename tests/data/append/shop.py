"""A small shop of plain tables whose events can be handed out as raw data and as drops."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from components.data.append.append import Appended, append
from components.data.drops.store import Store
from components.data.ingest.ingest import ingest
from components.settings.file import from_dict
from components.settings.params import Params
from components.storage.layout import Layout
from components.storage.manifest import sha256

PARAMS = from_dict({"dataset": "shop", "ingest": {"format": "table", "path": "data/raw/shop"}})
START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
ITEMS = [f"P{number:02d}" for number in range(40)]
Event = dict[str, Any]


def events(count: int = 1200, seed: int = 5) -> list[Event]:
    """Purchases of 100 days in order of time, no two at one time: item n is bought about as often as 1 / (1 + n)."""
    drawn = random.Random(seed)
    weights = [1 / (1 + number) for number in range(len(ITEMS))]
    return [
        {
            "user_id": f"u{drawn.randrange(60):02d}",
            "item_id": drawn.choices(ITEMS, weights)[0],
            "timestamp": (START + timedelta(minutes=120 * number)).isoformat(),
            "rating": float(drawn.randrange(1, 6)),
        }
        for number in range(count)
    ]


def items(names: Sequence[str] = ITEMS) -> list[Event]:
    return [{"item_id": name, "title": f"Thing {name}", "brand": f"Brand {name[-1]}"} for name in names]


def csv(rows: Sequence[Event], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(list(rows)).write_csv(path)
    return path


class Shop:
    """A workspace of the shop."""

    def __init__(self, root: Path, history: Sequence[Event], params: Params = PARAMS) -> None:
        self.root, self.params = root, params
        self.layout, self.store = Layout(root, "shop"), Store.of(root, "shop")
        self.raw = root / params.ingest.path
        csv(items(), self.raw / "items.csv")
        csv(history, self.raw / "interactions.csv")
        self.ingest()

    def ingest(self) -> dict[str, Any]:
        return ingest(self.params.ingest, self.raw, self.layout, self.store)

    def append(self, rows: Sequence[Event], name: str = "drop.csv", *, now: datetime = NOW) -> Appended:
        """Append a drop of one file."""
        return self.take(str(csv(rows, self.root / "came" / name)), now=now)

    def take(self, drop: str, *, now: datetime = NOW) -> Appended:
        return append(self.params, self.layout, self.store, drop, now=now, by="a test")

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return pl.read_parquet(self.layout.interactions), pl.read_parquet(self.layout.items)

    def state(self) -> str:
        """Hash of the store and of the artifacts."""
        return "".join(sha256(path) for path in (self.store.folder, self.layout.root) if path.exists())
