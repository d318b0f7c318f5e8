"""Is an update each month as good as training anew, and what does it cost? Walk-forward in global time.

    python -m benchmarks.walk_forward amazon-beauty --category Makeup --work work/walk-forward   # goes on where it was
    python -m benchmarks.walk_forward amazon-beauty --quick                                   # minutes, means nothing

The first 60 % of the events are the base; four windows of 10 % follow. A row is ready when a window begins, knowing
what is earlier: histories, idf, graph. Its catalogue has the items bought until the window ends, as a shop lists an
item before it is sold. Items count from their first event on and users with three (the data set itself is a 5-core over
its whole log). Every event of a window is predicted from all that its user did before it, seen items masked; events of
a day are in a drawn order.

Rows: `frozen` (base model, base catalogue), `add_items` (IDs for new items, no training), `voices` (item graph and text
built anew), `finetuned` (each window from the one before, without replay and divergence), `continual` (with both, the
defaults of `train.continual`), the same two `_long` (four epochs at five times the rate), beside them `replayed_long`
and `held_long` with one of the two, `scratch` (all anew, IDs too). In window 1 all but `frozen` and `voices` are the
base model. Settings are fixed beforehand; nothing is chosen on a window.

Prints one JSON line: `windows.N.ROW` with `ndcg_at_10`, `recall_at_10`, `last_ndcg_at_10` (the last event of each user
alone), `cpu_seconds` and `target_tokens` of being made ready, `id_churn` against the window before, `slices`; and over
the later windows `ratio_ndcg_to_scratch` with its 95 % interval (users drawn again), `ratio_compute_to_scratch` (CPU
seconds), `ratio_tokens_to_scratch`, and `forgetting`: window 1 asked of the last models again,
which have been taught its events by then.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.shop import Shop, read, settings
from components.console import Console
from components.evaluation.metrics import ndcg, recall
from components.processes.environment import prepare
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.interface import Recommender
from components.sampling import hash_sample
from components.settings.decoding import Decoding
from components.settings.params import Params
from components.settings.train import ContinualTraining, Train
from components.storage.artifacts import publish_json, read_json
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.training import run
from components.training.ids.indexing import IndexJob, index_ids
from components.training.job import Job
from components.voices.learned import Learned, in_order
from components.voices.load import build

ROOT = Path(__file__).resolve().parents[1]
K, BASE, WINDOWS = 10, 0.6, 4
_DAY = 86_400.0 * 1e6
DORMANT_DAYS = 180
UPDATES = {
    "finetuned": ContinualTraining(replay=0.0, kl=0.0),
    "continual": ContinualTraining(),
    "finetuned_long": ContinualTraining(rate=0.5, epochs=4, replay=0.0, kl=0.0),
    "replayed_long": ContinualTraining(rate=0.5, epochs=4, kl=0.0),
    "held_long": ContinualTraining(rate=0.5, epochs=4, replay=0.0),
    "continual_long": ContinualTraining(rate=0.5, epochs=4),
}
ROWS = ("frozen", "add_items", "voices", *UPDATES, "scratch")


def main() -> None:
    prepare()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder of --data, such as amazon-beauty")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--category", default="", help="a shop of the items of this category alone")
    parser.add_argument("--users", type=int, default=0, help="users of a sample (0: all)")
    parser.add_argument("--targets", type=int, default=1000, help="events asked in a window, by a hash (0: all)")
    parser.add_argument("--epochs", type=int, default=40, help="epochs from scratch")
    parser.add_argument("--batch-size", type=int, default=16, help="histories a step")
    parser.add_argument("--size", default="d_model=64,layers=2,heads=4,d_ff=192")
    parser.add_argument("--cold-start-steps", type=int, default=400)
    parser.add_argument("--beams", type=int, default=20)
    parser.add_argument("--windows", type=int, default=WINDOWS, help="the first so many windows")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--work", type=Path, help="keeps models and answers, to go on when run again")
    parser.add_argument("--quick", action="store_true", help="200 users, two epochs")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.users, chosen.targets, chosen.epochs, chosen.cold_start_steps = 200, 60, 2, 20
        chosen.size, chosen.beams = "d_model=32,layers=1,heads=2,d_ff=64", 10
    with tempfile.TemporaryDirectory() as folder:
        result = measure(chosen, (chosen.work or Path(folder)).resolve())
    print(json.dumps({"benchmark": "walk_forward", "dataset": chosen.dataset, **result, **machine.facts()}))


def measure(chosen: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What the result line has."""
    raw = chosen.data / chosen.dataset
    params = settings(ROOT / "params" / f"{chosen.dataset}-3000-users.yaml", raw)
    # An item counts from its first event on; of users `clean` asks for three.
    clean = replace(params.clean, sample_users=chosen.users, min_user_interactions=3, min_item_interactions=1)
    params = replace(params, clean=clean)
    train = replace(
        params.train,
        family="decoder-only",
        size=chosen.size,
        device="cpu",
        rounds=1,
        checkpoint_seconds=60.0,
        generator=replace(params.train.generator, cold_start_steps=chosen.cold_start_steps),
        recommender=replace(params.train.recommender, epochs=chosen.epochs, batch_size=chosen.batch_size),
    )
    with tempfile.TemporaryDirectory() as folder:
        events = Events.of(read(params, raw, Path(folder), "shuffle", chosen.category))
    walk = Walk(events, replace(params, train=train), work, chosen)
    windows: dict[str, dict[str, Any]] = {}
    for window in range(1, chosen.windows + 1):
        windows[str(window)] = {row: walk.answered(row, window) for row in ROWS if row in chosen.rows}
    return {
        "category": chosen.category,
        "users": len(events.sequences),
        "items": len(events.items),
        "events": len(events.sequences.values),
        "settings": {
            name: getattr(chosen, name) for name in ("size", "epochs", "batch_size", "beams", "cold_start_steps")
        },
        "windows": {
            window: {"events": len(walk.cases(int(window))), **{name: said(each) for name, each in rows.items()}}
            for window, rows in windows.items()
        },
        **walk.ratios(windows),
    }


@dataclass(frozen=True)
class Events:
    """Who took what on which day, users in rows, oldest first."""

    items: pl.DataFrame
    users: tuple[str, ...]
    sequences: Ragged
    """Item numbers: rows of `items`."""
    days: np.ndarray
    """[events] days since 1970."""

    @classmethod
    def of(cls, shop: Shop) -> Events:
        asked = shop.cases(refit=True, on="test", max_users=0, seed=0)
        assert asked.times is not None, "global time takes times"
        rows = [[*prompt.tolist(), int(last)] for prompt, last in zip(asked.prompts, asked.targets, strict=True)]
        ends = asked.times.targets
        times = [[*prompt.tolist(), int(end)] for prompt, end in zip(asked.times.prompts, ends, strict=True)]
        timed = [at for at, each in enumerate(times) if min(each) >= 0]
        days = np.floor(np.array([time for at in timed for time in times[at]]) / _DAY)
        users = tuple(asked.user_ids[at] for at in timed)
        return cls(shop.items, users, Ragged.of([rows[at] for at in timed]), days)

    @cached_property
    def cuts(self) -> np.ndarray:
        """[windows + 1] first day of each window, and of what is after the last."""
        ordered = np.sort(self.days)
        shares = [BASE + (1 - BASE) * window / WINDOWS for window in range(WINDOWS)]
        return np.array([*(ordered[int(share * len(ordered))] for share in shares), ordered[-1] + 1])

    @cached_property
    def first_day(self) -> np.ndarray:
        """[items] the day of its first event; infinity for an item without one."""
        found = np.full(len(self.items), np.inf)
        np.minimum.at(found, self.sequences.values, self.days)
        return found


@dataclass(frozen=True)
class Walk:
    """One walk over the windows; what it makes lies in `work`, and is not made twice."""

    events: Events
    params: Params
    work: Path
    chosen: argparse.Namespace

    def cases(self, window: int) -> np.ndarray:
        """Places in `events.sequences` of the events that are asked in a window."""
        start, end = self.events.cuts[window - 1 : window + 1]
        places = np.flatnonzero((self.events.days >= start) & (self.events.days < end))
        if 0 < self.chosen.targets < len(places):
            owners = self.events.sequences.owners[places]
            names = [f"{self.events.users[user]}/{place}" for user, place in zip(owners, places, strict=True)]
            places = places[np.sort(hash_sample(names, self.chosen.targets, f"{self.params.seed}/{window}/"))]
        return places

    def listed(self, window: int) -> np.ndarray:
        """Numbers of the items that the shop lists in a window, rising."""
        return np.flatnonzero(self.events.first_day < self.events.cuts[window])

    def known(self, window: int) -> tuple[list[str], list[list[int]], list[np.ndarray]]:
        """(user, items, days) of all events before a window."""
        users, rows, days = [], [], []
        sequences = self.events.sequences
        for row, user in enumerate(self.events.users):
            some = self.events.days[sequences.offsets[row] : sequences.offsets[row + 1]]
            if count := int((some < self.events.cuts[window - 1]).sum()):
                users.append(user)
                rows.append(sequences.row(row)[:count].tolist())
                days.append(some[:count])
        return users, rows, days

    def answered(self, row: str, window: int) -> dict[str, Any]:
        """Figures of a row in a window: what it cost to be ready, and the place of each target."""
        return self._once(f"{window}-{row}.json", lambda: self._answer(row, window, window))

    def again(self, row: str, last: int) -> dict[str, Any]:
        """The first window, asked of the model that is ready for window `last`."""
        return self._once(f"again-{row}.json", lambda: self._answer(row, last, 1))

    def _once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.work / "answers" / name
        if not path.is_file():
            publish_json(path, make())
        return dict(read_json(path))

    def _answer(self, row: str, window: int, asked: int) -> dict[str, Any]:
        started = time.process_time()
        ready, facts = self._ready(row, window)
        cpu = facts.get("cpu_seconds", time.process_time() - started)
        events, places = self.events, self.cases(asked)
        begins = events.sequences.starts_of(places)
        ids = events.items["item_id"].to_list()
        prompts = [[ids[item] for item in events.sequences.values[a:b]] for a, b in zip(begins, places, strict=True)]
        times = [(events.days[a:b] * 86_400.0).tolist() for a, b in zip(begins, places, strict=True)]
        decoding = Decoding(beams=self.chosen.beams, mask_seen=True)
        lists = ready.recommend(prompts, K, decoding, Progress([Console()]), times)
        ranks = []
        for place, answer in zip(places, lists, strict=True):
            target = ids[events.sequences.values[place]]
            ranks.append(next((at for at, hit in enumerate(answer, 1) if hit.item_id == target), 0))
        return {**facts, "cpu_seconds": cpu, "ranks": ranks, **self._kinds(asked, window)}

    def _kinds(self, asked: int, window: int) -> dict[str, Any]:
        """Of each case: its user, whether it is the user's last of the window, and slices as lists of cases."""
        events, places, cut = self.events, self.cases(asked), self.events.cuts[asked - 1]
        owners, begins = events.sequences.owners[places], events.sequences.starts_of(places)
        before = [events.days[a:b][events.days[a:b] < cut] for a, b in zip(begins, places, strict=True)]
        newest = np.array([each[-1] if len(each) else np.nan for each in before])
        last = np.append(owners[1:] != owners[:-1], True)
        slices = {
            "new_items": events.first_day[events.sequences.values[places]] >= cut,
            "new_users": np.isnan(newest),
            "dormant_users": newest < cut - DORMANT_DAYS,
        }
        slices["all_others"] = ~np.any(list(slices.values()), axis=0)
        return {
            "owners": owners.tolist(),
            "last": np.flatnonzero(last).tolist(),
            "slices": {name: np.flatnonzero(mask).tolist() for name, mask in slices.items()},
        }

    def _ready(self, row: str, window: int) -> tuple[Recommender, dict[str, Any]]:
        """The recommender of a row when a window begins, and facts of it."""
        if row == "voices":
            return self._voices(window), {}
        if row == "frozen":
            return Engine.load(self._trained("scratch", 1)[0], device="cpu"), {"cpu_seconds": 0.0, "target_tokens": 0}
        if row == "add_items":
            pair, _ = self._trained("scratch", 1)
            before = IdTable.load(pair / "id_table.parquet")
            started = time.process_time()
            job = IndexJob(pair, self._tables(window) / "items.parquet", self.work / "index", self.params.index, "cpu")
            table = index_ids(job, Progress([Console()]))[0]
            facts = {"cpu_seconds": time.process_time() - started, "target_tokens": 0, "id_churn": table.churn(before)}
            return Engine.load(pair, device="cpu", catalogue=Catalogue(table)), facts
        pair, facts = self._trained(row, window)
        return Engine.load(pair, device="cpu"), facts

    def _voices(self, window: int) -> Recommender:
        numbers = self.listed(window)
        items = self.events.items[numbers]
        ids = tuple(items["item_id"])
        row_of = {int(number): row for row, number in enumerate(numbers)}
        _, rows, days = self.known(window)
        histories = Ragged.of([[row_of[item] for item in row] for row in rows])
        table = IdTable(ids, ids, tuple((number,) for number in range(len(ids))))
        texts = in_order(ids, items.to_dict(as_series=False))
        learned = Learned(Catalogue(table), histories, np.concatenate(days), texts)
        return build("item_graph_text", learned, self.params.voices)

    def _trained(self, row: str, window: int) -> tuple[Path, dict[str, Any]]:
        """The pair of a row that is trained for a window, and what that took."""
        if window == 1:
            row = "scratch"
        out = self.work / "pairs" / f"{window}-{row}"
        cost = self.work / "costs" / f"{window}-{row}.json"
        before = self._trained(row, window - 1)[0] if window > 1 else None
        if not (out.is_dir() and cost.is_file()):
            train: Train = self.params.train
            if row != "scratch":
                train = replace(train, start=f"{window - 1}-{row}", continual=UPDATES[row])
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
                start=before if row != "scratch" else None,
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

    def _tables(self, window: int) -> Path:
        """The tables of a training that is ready for a window: listed items, earlier events, and no targets."""
        folder = self.work / "tables" / str(window)
        if not (folder / "valid_targets.parquet").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self.events.items[self.listed(window)].write_parquet(folder / "items.parquet")
            users, rows, _ = self.known(window)
            ids = self.events.items["item_id"].to_list()
            lists = [[ids[item] for item in row] for row in rows]
            pq.write_table(pa.table({"user_id": users, "history": lists}), folder / "histories.parquet")
            text = pa.array([], pa.string())
            none = {"user_id": text, "context": pa.array([], pa.list_(pa.string())), "target": text}
            pq.write_table(pa.table(none), folder / "valid_targets.parquet")
        return folder

    def ratios(self, windows: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Over the windows after the first: quality and cost against `scratch`, and what is forgotten."""
        later = [rows for window, rows in windows.items() if window != "1"]
        found: dict[str, Any] = {"ratio_ndcg_to_scratch": {}, "ratio_compute_to_scratch": {}}
        found |= {"ratio_tokens_to_scratch": {}, "forgetting": {}}
        if not later or "scratch" not in later[0]:
            return found
        owners = np.concatenate([rows["scratch"]["owners"] for rows in later])
        best = np.concatenate([gains(rows["scratch"]) for rows in later])
        for row in (name for name in later[0] if name != "scratch"):
            own = np.concatenate([gains(rows[row]) for rows in later])
            low, high = interval(own, best, owners, seed=self.params.seed)
            found["ratio_ndcg_to_scratch"][row] = {
                "ratio": round(own.mean() / best.mean(), 4),
                "low": round(low, 4),
                "high": round(high, 4),
            }
            for name, key in (("compute", "cpu_seconds"), ("tokens", "target_tokens")):
                mine, theirs = (sum(rows[who].get(key, 0) for rows in later) for who in (row, "scratch"))
                found[f"ratio_{name}_to_scratch"][row] = round(mine / max(theirs, 1e-9), 4)
        last = max(map(int, windows))
        for row in (name for name in ("add_items", *UPDATES, "scratch") if name in later[0]):
            now, then = gains(self.again(row, last)), gains(windows["1"]["scratch"])
            found["forgetting"][row] = {
                "window_1_ndcg_at_10": round(float(then.mean()), 6),
                "again_ndcg_at_10": round(float(now.mean()), 6),
            }
        return found


def gains(answer: dict[str, Any]) -> np.ndarray:
    """NDCG@10 of each case."""
    return ndcg(np.array(answer["ranks"], dtype=np.int64), K)


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """The figures of an answer."""
    gained, hits = gains(answer), recall(np.array(answer["ranks"], dtype=np.int64), K)
    slices = {
        name: {
            "events": len(rows),
            "ndcg_at_10": round(float(gained[rows].mean()), 6),
            "recall_at_10": round(float(hits[rows].mean()), 6),
        }
        for name, rows in answer["slices"].items()
        if rows
    }
    figures = {
        "ndcg_at_10": gained.mean(),
        "recall_at_10": hits.mean(),
        "last_ndcg_at_10": gained[answer["last"]].mean(),
    }
    costs: dict[str, Any] = {name: answer[name] for name in ("target_tokens", "id_churn", "users") if name in answer}
    return {
        **{name: round(float(each), 6) for name, each in figures.items()},
        "cpu_seconds": round(answer["cpu_seconds"], 2),
        **costs,
        "slices": slices,
    }


def interval(own: np.ndarray, best: np.ndarray, owners: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95 % of the ratio of the two means, users being drawn again a thousand times."""
    _, user = np.unique(owners, return_inverse=True)
    sums = np.stack([np.bincount(user, each) for each in (own, best)])
    random = np.random.default_rng(seed)
    drawn = random.multinomial(sums.shape[1], np.full(sums.shape[1], 1 / sums.shape[1]), size=1000)
    ratios = (drawn @ sums[0]) / np.maximum(drawn @ sums[1], 1e-12)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
