"""`idiom monitor`: whether what happens now has drifted from what the champion was trained on, and Prefect told of it.

    idiom monitor                                   # the newest week of the data
    python -m flows monitor PARAMETERS              # as a flow run in Prefect, as a schedule does it

The champion's training data are the interactions up to the newest one that it was validated with. A window that
crosses a threshold is sent once as the event `idiom.drift`, with the figures as its evidence; one that the server did
not take goes with the next run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.canonical import coded
from components.errors import BadInput
from components.evaluation.comparison.sides import Side, read
from components.monitoring import history
from components.monitoring.drift import Hits, measure
from components.monitoring.history import PAGE, Record
from components.monitoring.page import page
from components.monitoring.stream import Stream
from components.registry.bundle import decoding_of
from components.registry.champion import CHAMPION, behind, numbered_bundle
from components.registry.comparable import comparable
from components.sampling import hash_sample
from components.settings.params import Params
from components.storage.artifacts import publishing
from components.storage.layout import Layout
from flows.events import DRIFT, tell
from flows.holding import reading

if TYPE_CHECKING:
    from components.recommender.interface import Recommender


@dataclass(frozen=True)
class Monitored:
    """What came of it."""

    record: Record
    page: Path
    sent: bool
    """Whether Prefect's server took an event of it now."""


def folder_of(workspace: Path, params: Params) -> Path:
    """Where history and page lie; no output of the graph."""
    return Layout(workspace, params.dataset).root / "monitor"


def monitor(
    workspace: Path,
    params: Params,
    *,
    at: datetime | None,
    say: Callable[[str], object],
    warn: Callable[[str], object],
) -> Monitored:
    """Measure the window that ends at `at` (None: the newest interaction), publish history and page, send the event.

    Raises `BadInput` where there is no champion, or no time in the data.
    """
    workspace, rules = workspace.resolve(), params.monitor
    layout, folder = Layout(workspace, params.dataset), folder_of(workspace, params)
    from components.ranking.load import load

    with reading(workspace, say):
        number, digest = behind(workspace, params, CHAMPION)
        model = load(numbered_bundle(workspace, params, number, digest))
        decoding = decoding_of(numbered_bundle(workspace, params, number, digest))
        evaluated = read(comparable(workspace, params, number).folder, name=f"version {number}")
        interactions = coded.read(layout.interactions)
        items = coded.collect(coded.scan(layout.items, {"item_id": coded.COLUMNS["item_id"]}), layout.items)
    trained_until = _trained_until(evaluated)
    newest = interactions.rows["timestamp"].max()
    if not isinstance(newest, datetime):
        raise BadInput("the data have no times", where=str(layout.interactions), mend="drift is a matter of time")
    end = at or newest
    start = max(end - timedelta(days=rules.window_days), trained_until)
    stream = Stream.of(interactions, items, model.catalogue.row_of)
    before = stream.between(trained_until - timedelta(days=rules.reference_days), trained_until)
    now = stream.between(start, end)
    hits = (
        _hits(model, decoding, evaluated, interactions, start, end, params) if rules.asked_users and len(now) else None
    )
    found = measure(before, now, rules, hits)
    record = Record.of(number, start, end, len(now), found)
    known = [each for each in history.read(folder) if (each.version, each.end) == (record.version, record.end)]
    record = dataclasses.replace(record, emitted=any(each.emitted for each in known))
    told = {"dataset": params.dataset, "drifted": record.drifted, **dataclasses.asdict(record)}
    sent = bool(record.drifted and not record.emitted) and tell(DRIFT, params.register.model_name, told, warn=warn)
    record = dataclasses.replace(record, emitted=record.emitted or sent)
    everything = history.add(folder, record)
    with publishing(folder / PAGE) as temporary:
        temporary.write_text(page(everything, dataset=params.dataset), encoding="utf-8")
    return Monitored(record, folder / PAGE, sent)


def _trained_until(evaluated: Side) -> datetime:
    """The newest interaction of the data that the champion was made of."""
    said = evaluated.verdict.get("facts", {}).get("last_time")
    if not said:
        mend = "its data had no times, or were not validated: train on data that have some"
        raise BadInput("nobody knows until when the champion was trained", where=evaluated.name, mend=mend)
    return datetime.fromisoformat(said).astimezone(UTC)


def _hits(
    model: Recommender,
    decoding: Any,
    evaluated: Side,
    interactions: coded.Coded,
    start: datetime,
    end: datetime,
    params: Params,
) -> Hits:
    """Ask the champion about users of the window by what they had before it: is their next item in its list?

    As its evaluation asks: an item under another of its ids is that item, and where people take items once
    (`clean.drop_repeats`) the next one is the first that they had not.
    """
    import polars as pl

    rows = interactions.rows.sort("user", "position")
    old = (
        rows.filter(pl.col("timestamp") <= start)
        .group_by("user")
        .agg(pl.col("item").alias("history"), (pl.col("timestamp").dt.epoch("us") / 1e6).alias("times"))
    )
    new = rows.filter((pl.col("timestamp") > start) & (pl.col("timestamp") <= end))
    asked = new.group_by("user").agg(pl.col("item").alias("taken")).join(old, on="user").sort("user")
    names = interactions.users.gather(asked["user"]).to_list()
    chosen = asked[sorted(hash_sample(names, params.monitor.asked_users, f"monitor:{params.seed}:"))]
    k = int(evaluated.protocol["headline_k"])
    ids = interactions.items
    histories, times, targets = [], [], []
    for row, moments, taken in chosen.select("history", "times", "taken").iter_rows():
        history_of = ids.gather(row).to_list()
        if (target := _next(model, history_of, ids.gather(taken).to_list())) is not None:
            histories.append(history_of)
            times.append(moments)
            targets.append(target)
    answers = model.recommend(histories, k, decoding, times=times)
    hits = [target in {each.item_id for each in answer} for target, answer in zip(targets, answers, strict=True)]
    before = evaluated.users["rank"].is_between(1, k).mean()
    return Hits(len(hits), sum(hits) / max(len(hits), 1), float(before or 0.0))  # type: ignore[arg-type]


def _next(model: Recommender, had: Sequence[str], taken: Sequence[str]) -> str | None:
    """The item that the model should have named, by the id that it has there; None where all of `taken` are repeats."""
    catalogue = model.catalogue
    if not catalogue.drop_repeats:
        return next(iter(catalogue.canonical(taken)), None)
    known = set(catalogue.canonical(had))
    return next((item for item in catalogue.canonical(taken) if item not in known), None)
