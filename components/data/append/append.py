"""Takes in a drop of new data: read, judged against the history, then kept or quarantined, whole.

    done = append(params, layout, store, "drops/2024-05-01.csv", now=datetime.now(UTC), by="ada@shop1")
    done.kept, done.lines

The stage `ingest` merges what is kept (components/data/drops/merging.py). Whatever happens, the store has the drop or
has not, and the artifacts of the last run stay as they are.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from components.data.append import checks
from components.data.append.checks import CHECKS, Against
from components.data.append.reading import Brought, Read, brought, read_drop
from components.data.canonical import coded
from components.data.drops.forgotten import Forgotten
from components.data.drops.merging import VALUES, Merged, merge
from components.data.drops.store import FACTS, INTERACTIONS, ITEMS, Drop, Store, write
from components.data.ingest.ingest import chosen
from components.data.validate.expectations import assert_and_document
from components.data.validate.page import page
from components.data.validate.validate import in_words, refusal, verdict_of
from components.errors import BadInput, StageError
from components.settings.params import Params
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.layout import Layout

REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True)
class Appended:
    """What came of a drop."""

    kept: bool
    """Whether the store has something new."""
    counts: dict[str, Any]
    lines: list[str]
    """For people: the account of its records, and warnings."""


def append(params: Params, layout: Layout, store: Store, drop: str, *, now: datetime, by: str) -> Appended:
    """Read `drop` (file, folder or URL), judge it and keep it. The caller holds `store.alone()`.

    Raises `BadInput` for what cannot be read, `GateRefused` for what the checks refuse; both lie in the quarantine
    then, with the report. A drop whose files are there already, or that brings nothing new, changes nothing.
    """
    with brought(drop) as came:
        digest = came.sha256()
        if same := store.find(digest):
            return Appended(False, {}, [f"these files came already, as {same.facts['name']}: nothing is changed"])
        state, forgotten = known(layout, store), store.forgotten()
        try:
            read = read_drop(params.ingest, came)
        except StageError as error:
            place = _set_aside(store, came, digest, {"error": error.facts(), "name": came.name, "at": _moment(now)})
            # The copy that was read is gone when this is read; what lies in the quarantine is the same.
            what, where = (said.replace(str(came.folder), str(place / "drop")) for said in (error.what, error.where))
            raise type(error)(what, where=where, mend=f"{error.mend}\n         it lies in {place}") from error
        accounts, read = _without_the_forgotten(read, forgotten)
        with tempfile.TemporaryDirectory(prefix="idiom-drop-") as scratch:
            counted = _counted(state, read, forgotten, Path(scratch), digest)
        against = Against(state.interactions, state.items, counted["added"] + counted["corrected"], now)
        verdict = _judged(params, read, against, store, came, digest, now)
        counts = {**counted, "tables": accounts}
        lines = [*_account(counts, read), *(f"warning: {line}" for line in in_words(verdict))]
        if not any(counted[name] for name in ("added", "corrected", "items_added", "items_corrected")):
            return Appended(False, counts, [*lines, "nothing in it is new: nothing is changed"])
        facts = {
            "number": max((each.number for each in store.drops()), default=0) + 1,
            "sha256": digest,
            "name": came.name,
            "at": _moment(now),
            "by": by,
            "settings": chosen(params.ingest),
            "counts": counts,
            "warnings": verdict["warnings"],
        }
        with store.publishing(digest) as folder:
            folder.mkdir()
            _write(read, folder)
            publish_json(folder / FACTS, facts)
    return Appended(True, counts, lines)


def known(layout: Layout, store: Store) -> Merged:
    """The tables that the last `ingest` published, with the drops that came since.

    Raises `BadInput` where there was none yet.
    """
    if not layout.ingest_report.is_file():
        mend = "run it first: idiom repro --stage ingest"
        raise BadInput("there is no history yet to judge a drop by", where=str(layout.interactions), mend=mend)
    items = coded.collect(coded.scan(layout.items, {"item_id": pl.String}), layout.items)
    there = (read_json(layout.ingest_report).get("drops") or {}).get("drops", {})
    waiting = [drop for drop in store.drops() if drop.sha256 not in there]
    return merge(coded.read(layout.interactions, VALUES), items, waiting, store.forgotten())


def _without_the_forgotten(read: Read, forgotten: Forgotten) -> tuple[dict[str, Any], Read]:
    """The drop without who and what was deleted, which its account then has as set aside."""
    accounts = {name: {**each, "set_aside": dict(each["set_aside"])} for name, each in read.accounts.items()}

    def of(table: pl.DataFrame, name: str) -> pl.DataFrame:
        gone = forgotten.among("item", table["item_id"])
        if "user_id" in table.columns:
            gone = gone | forgotten.among("user", table["user_id"])
        if count := int(gone.sum()):
            accounts[name]["set_aside"]["forgotten"] = count
            accounts[name]["kept"] -= count
        return table.filter(~gone)

    history = None if read.interactions is None else of(read.interactions, "interactions")
    items = None if read.items is None else of(read.items, "items")
    return accounts, Read(history, items, accounts)


def _counted(state: Merged, read: Read, forgotten: Forgotten, scratch: Path, digest: str) -> dict[str, int]:
    """What the drop would bring: added, corrected, already there, ... as the merge counts it."""
    _write(read, scratch)
    drop = Drop(scratch, {"number": 1, "sha256": digest})
    counts: dict[str, int] = merge(state.interactions, state.items, [drop], forgotten).counts["drops"][digest]
    return counts


def _write(read: Read, folder: Path) -> None:
    if read.interactions is not None and not read.interactions.is_empty():
        write(read.interactions, folder / INTERACTIONS)
    if read.items is not None and not read.items.is_empty():
        write(read.items, folder / ITEMS)


def _judged(
    params: Params, read: Read, against: Against, store: Store, came: Brought, digest: str, now: datetime
) -> dict[str, Any]:
    """The verdict. Raises `GateRefused`, after setting the drop aside, where a critical check failed."""
    measured = checks.measure(read, against, params.drops)
    severity = {name: check.severity for name, check in CHECKS.items()}
    with tempfile.TemporaryDirectory(prefix="idiom-drop-") as scratch:
        site = Path(scratch) / "data_docs"
        passed = assert_and_document(measured, CHECKS, severity, site)
        verdict = verdict_of(measured, severity, passed, CHECKS) | {"facts": _facts(read)}
        verdict |= {"in_words": in_words(verdict), "name": came.name, "at": _moment(now)}
        if verdict["passed"]:
            return verdict
        place = _set_aside(store, came, digest, verdict, site, page(verdict, dataset=f"drop {came.name}"))
    raise refusal(verdict, where=f"{came.name}; it lies with its page in {place}, and nothing else was changed")


def _set_aside(
    store: Store,
    came: Brought,
    digest: str,
    report: Mapping[str, Any],
    site: Path | None = None,
    text: str | None = None,
) -> Path:
    """Publish the drop, as it came, and its report in the quarantine."""
    place = store.quarantine / digest[:16]
    with publishing(place) as folder:
        shutil.copytree(came.folder, folder / "drop")
        publish_json(folder / REPORT, dict(report))
        if site is not None:
            shutil.copytree(site, folder / "data_docs")
        if text is not None:
            (folder / PAGE).write_text(text, encoding="utf-8")
    return place


def _facts(read: Read) -> dict[str, Any]:
    table = read.interactions
    some = table is not None and not table.is_empty()
    return {
        "interactions": table.height if table is not None else 0,
        "users": table["user_id"].n_unique() if table is not None else 0,
        "items": read.items.height if read.items is not None else 0,
        "first_time": str(table["timestamp"].min()) if some and table is not None else None,
        "last_time": str(table["timestamp"].max()) if some and table is not None else None,
    }


def _account(counts: Mapping[str, Any], read: Read) -> list[str]:
    """`read 320 interactions: 300 added, 12 already there, 5 corrected, 3 set aside (3 forgotten)`"""
    lines = []
    for table, account in counts["tables"].items():
        aside = account["set_aside"]
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in aside.items())
        parts = {
            "added": counts["added" if table == "interactions" else "items_added"],
            "corrected": counts["corrected" if table == "interactions" else "items_corrected"],
        }
        there = account["kept"] - sum(parts.values()) - (counts["superseded"] if table == "interactions" else 0)
        parts |= {"already there": there}
        if table == "interactions" and counts["superseded"]:
            parts["twice in the drop"] = counts["superseded"]
        said = ", ".join(f"{count:,} {name}" for name, count in parts.items())
        lines.append(
            f"read {account['records']:,} {table}: {said}, {sum(aside.values()):,} set aside"
            + (f" ({reasons})" if reasons else "")
        )
    return lines


def _moment(now: datetime) -> str:
    return f"{now:%Y-%m-%d %H:%M:%S}"
