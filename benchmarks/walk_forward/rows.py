"""Who answers in a window: each row as it is when the window begins, and the place of each target in its lists.

A row that goes on is named by its settings (`rate=0.5,epochs=8,kl=0.1`), or by a name of `UPDATES` for some of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.walk_forward.windows import Timeline
from components.console import Console
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.interface import Recommender
from components.settings.decoding import Decoding
from components.settings.params import Params
from components.settings.train import ContinualTraining
from components.storage.artifacts import publish_json, read_json
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.training import run
from components.training.ids.indexing import IndexJob, index_ids
from components.training.job import Job
from components.voices.learned import Learned, in_order
from components.voices.load import build

K = 10
_DEFAULTS = ContinualTraining()
UPDATES = {
    "finetuned": replace(_DEFAULTS, replay=0.0, kl=0.0),
    "replayed": replace(_DEFAULTS, kl=0.0),
    "held": replace(_DEFAULTS, replay=0.0),
    "continual": _DEFAULTS,
}
ROWS = ("frozen", "add_items", "voices", *UPDATES, "scratch")


def update(row: str) -> ContinualTraining | None:
    """The settings of a row that goes on from the window before; None for a row that does not."""
    if "=" not in row:
        return UPDATES.get(row)
    kinds = {each.name: type(getattr(_DEFAULTS, each.name)) for each in fields(ContinualTraining)}
    pairs = (each.split("=") for each in row.split(","))
    return ContinualTraining(**{name: kinds[name](value) for name, value in pairs})


@dataclass(frozen=True)
class Walk:
    """One walk over the windows; what it makes lies in `work`, and is not made twice."""

    timeline: Timeline
    params: Params
    work: Path
    beams: int
    base: int = 1
    """The window in which all that is trained is the base model."""

    def answered(self, row: str, window: int) -> dict[str, Any]:
        """Figures of a row in a window: what it cost to be ready, and the place of each target."""
        name = self._name(row, window)
        return self._once(f"{window}-{name}.json", lambda: self._answer(name, window, window))

    def again(self, row: str, last: int) -> dict[str, Any]:
        """The first window, asked of the model that is ready for window `last`."""
        name = self._name(row, last)
        return self._once(f"again-{last}-{name}.json", lambda: self._answer(name, last, 1))

    def _name(self, row: str, window: int) -> str:
        """What a row is in a window: its settings, where they are what it is named after."""
        if row != "voices" and window == self.base:
            return "scratch"
        settings = update(row)
        return row if settings is None else ",".join(f"{name}={value}" for name, value in vars(settings).items())

    def _once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.work / "answers" / name
        if not path.is_file():
            publish_json(path, make())
        return dict(read_json(path))

    def _answer(self, row: str, window: int, asked: int) -> dict[str, Any]:
        started = time.process_time()
        ready, facts = self._ready(row, window)
        cpu = facts.get("cpu_seconds", time.process_time() - started)
        line, places = self.timeline, self.timeline.cases(asked)
        begins = line.sequences.starts_of(places)
        ids = line.items["item_id"].to_list()
        prompts = [[ids[item] for item in line.sequences.values[a:b]] for a, b in zip(begins, places, strict=True)]
        times = [(line.days[a:b] * 86_400.0).tolist() for a, b in zip(begins, places, strict=True)]
        lists = ready.recommend(prompts, K, Decoding(beams=self.beams, mask_seen=True), Progress([Console()]), times)
        ranks = []
        for place, answer in zip(places, lists, strict=True):
            target = ids[line.sequences.values[place]]
            ranks.append(next((at for at, hit in enumerate(answer, 1) if hit.item_id == target), 0))
        owners, last, slices = line.kinds(asked)
        kinds = {"owners": owners.tolist(), "last": last.tolist()}
        return {
            **facts,
            **kinds,
            "cpu_seconds": cpu,
            "ranks": ranks,
            "slices": {name: rows.tolist() for name, rows in slices.items()},
        }

    def _ready(self, row: str, window: int) -> tuple[Recommender, dict[str, Any]]:
        """The recommender of a row when a window begins, and facts of it."""
        if row == "voices":
            return self._voices(window), {}
        if row in ("frozen", "add_items"):
            pair, _ = self._trained("scratch", self.base)
            if row == "frozen":
                return Engine.load(pair, device="cpu"), {"cpu_seconds": 0.0, "target_tokens": 0}
            before = IdTable.load(pair / "id_table.parquet")
            started = time.process_time()
            job = IndexJob(pair, self._tables(window) / "items.parquet", self.work / "index", self.params.index, "cpu")
            table = index_ids(job, Progress([Console()]))[0]
            facts = {"cpu_seconds": time.process_time() - started, "target_tokens": 0, "id_churn": table.churn(before)}
            return Engine.load(pair, device="cpu", catalogue=Catalogue(table)), facts
        pair, facts = self._trained(row, window)
        return Engine.load(pair, device="cpu"), facts

    def _voices(self, window: int) -> Recommender:
        numbers = self.timeline.listed(window)
        items = self.timeline.items[numbers]
        ids = tuple(items["item_id"])
        row_of = {int(number): row for row, number in enumerate(numbers)}
        _, rows, days = self.timeline.known(window)
        histories = Ragged.of([[row_of[item] for item in row] for row in rows])
        table = IdTable(ids, ids, tuple((number,) for number in range(len(ids))))
        texts = in_order(ids, items.to_dict(as_series=False))
        learned = Learned(Catalogue(table), histories, np.concatenate(days), texts)
        return build("item_graph_text", learned, self.params.voices)

    def _tables(self, window: int) -> Path:
        return self.timeline.tables(window, self.work / "tables" / str(window))

    def _trained(self, row: str, window: int) -> tuple[Path, dict[str, Any]]:
        """The pair of a row that is trained for a window, and what that took; a row that goes on has had the windows
        before."""
        row = self._name(row, window)
        out = self.work / "pairs" / f"{window}-{row}"
        cost = self.work / "costs" / f"{window}-{row}.json"
        before = self._trained(row, window - 1)[0] if window > self.base else None
        if not (out.is_dir() and cost.is_file()):
            train, settings = self.params.train, update(row)
            if settings is not None:
                train = replace(train, start=f"{window - 1}-{row}", continual=settings)
            tables = self._tables(window)
            job = Job(
                items_clean=tables / "items.parquet",
                histories=tables / "histories.parquet",
                valid_targets=tables / "valid_targets.parquet",
                out=out,
                work=self.work / "trainings" / f"{window}-{row}",
                train=train,
                index=self.params.index,
                seed=self.params.seed,
                train_key=f"{window}-{row}",
                start=before if settings is not None else None,
            )
            started = time.process_time()
            run.train(job, Progress([Console()]))
            log = [json.loads(line) for line in (out / run.LOG).read_text(encoding="utf-8").splitlines()]
            tokens = sum(each.get("target_tokens", 0) for each in log if each.get("phase") == "recommender")
            facts = {"cpu_seconds": time.process_time() - started, "target_tokens": tokens}
            if before is not None:
                new, old = (IdTable.load(pair / "id_table.parquet") for pair in (out, before))
                facts["id_churn"] = new.churn(old)
            facts["users"] = next((each["users"] for each in log if each["event"] == "start"), {})
            publish_json(cost, facts)
        return out, dict(read_json(cost))
