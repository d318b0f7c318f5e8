"""`idiom add-items [FILE]`: new items in the champion at once: named by its generator, gated, promoted, not retrained.

The file comes in as a drop of items (components/data/append), so that the next retraining has them as well. Then the
champion's bundle is extended (components/registry/extension.py), asked what the champion was asked, registered, and
judged by `idiom promote`.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.append.append import known
from components.data.append.reading import brought, read_drop
from components.data.clean.itemtext import scrub_columns, with_text
from components.data.drops.store import Store
from components.errors import BadInput
from components.evaluation.comparison.rescored import rescored
from components.evaluation.comparison.sides import Side, kept_of, read
from components.registry.bundle import decoding_of
from components.registry.champion import CHAMPION, behind, numbered_bundle
from components.registry.comparable import comparable
from components.registry.extended import register_extension
from components.registry.extension import Extension, extend
from components.sampling import hash_sample
from components.settings.params import Params
from components.storage.layout import Layout
from flows.drops import append_drop
from flows.promote import Promotion, promote

if TYPE_CHECKING:
    import polars as pl

_ASKED = 2000
"""Users of the champion's evaluation by whom the longer version is judged, at least promote.min_users."""


@dataclass(frozen=True)
class Added:
    """What came of it."""

    extension: Extension
    version: str
    promotion: Promotion | None
    """None where the version waits for `idiom promote`."""
    seconds: float
    """Until the extended bundle lay on the disk: from then on whoever loads it recommends the items."""


def add_items(
    workspace: Path, params: Params, file: str | None, *, decides: bool, say: Callable[[str], object]
) -> Added:
    """Add the items of `file` (None: of all drops) to the champion. decides: judge the version at once.

    Raises what a drop raises (`append`), and `BadInput` where there is no champion, or nothing new.
    """
    workspace = workspace.resolve()
    number, digest = behind(workspace, params, CHAMPION)
    bundle = numbered_bundle(workspace, params, number, digest)
    items = cleaned(_rows(workspace, params, file, say), params)
    if left := deleted_in(bundle, Store.of(workspace, params.dataset)):
        say(f"warning: {left} deleted items are in the champion, and so in this version; idiom retrain mends it")
    with tempfile.TemporaryDirectory(prefix="idiom-add-", dir=_work(workspace)) as folder:
        out, kept = Path(folder) / "bundle", Path(folder) / "kept"
        started = time.monotonic()
        done = extend(bundle, items, out)
        seconds = time.monotonic() - started
        old = comparable(workspace, params, number)
        side = _asked(read(old.folder, name=old.label), out, params)
        kept_of(side, kept, old.folder)
        history = side.users["prompt"][0].to_list()[-3:]
        more = len(done.words) + len(done.aliases)
        version = register_extension(workspace, params, out, of=number, results=kept, history=history, added=more)
    decision = promote(workspace, params, version) if decides and version != number else None
    return Added(done, version, decision, seconds)


def cleaned(items: pl.DataFrame, params: Params) -> pl.DataFrame:
    """Raw rows of the item table as `clean` writes them: `item_id`, `text`, the text columns.

    Boilerplate is that of a whole catalogue: what a few items have in common may be what they are.
    """
    scrubbed, _ = scrub_columns(items, boilerplate_share=1.0)
    fields = [name for name in params.clean.text_fields if name in items.columns]
    found, _ = with_text(scrubbed, dataclasses.replace(params.clean, text_fields=fields))
    return found


def _rows(workspace: Path, params: Params, file: str | None, say: Callable[[str], object]) -> pl.DataFrame:
    """Raw rows of the items: of a file, which becomes a drop, or of all drops that there are."""
    import polars as pl

    layout, store = Layout(workspace, params.dataset), Store.of(workspace, params.dataset)
    if file is not None:
        for line in append_drop(workspace, params, file, say).lines:
            say(line)
        with brought(file) as came:
            table = read_drop(params.ingest, came).items
        wanted = [] if table is None else table["item_id"].to_list()
    else:
        tables = [drop.items for drop in store.drops() if drop.items is not None]
        wanted = [item for table in tables for item in table["item_id"]]
    rows = known(layout, store).items.filter(pl.col("item_id").is_in(wanted))
    if rows.is_empty():
        mend = "name a file of the item table: idiom add-items FILE"
        raise BadInput("there is no item to add", where=file or str(store.folder), mend=mend)
    return rows


def deleted_in(bundle: Path, store: Store) -> int:
    """How many items of a bundle are to be forgotten."""
    import polars as pl

    return int(
        store.forgotten().among("item", pl.read_parquet(bundle / "items.parquet", columns=["item_id"])["item_id"]).sum()
    )


def _asked(old: Side, bundle: Path, params: Params) -> Side:
    """What the longer version answers to users of the champion's evaluation."""
    import polars as pl

    from components.ranking.load import load

    most = max(_ASKED, params.promote.min_users)
    chosen = hash_sample(old.users["user_id"].to_list(), most, f"added:{params.seed}:")
    few = dataclasses.replace(old, users=old.users[sorted(chosen)])
    assert isinstance(few.users, pl.DataFrame)
    return rescored(load(bundle), decoding_of(bundle), like=few, name="with the new items")


def _work(workspace: Path) -> Path:
    folder = workspace / "work"
    folder.mkdir(exist_ok=True)
    return folder
