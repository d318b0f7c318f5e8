"""How good is every voice on a real data set, by both protocols, in both orders of ties, masked and unmasked?

    python -m benchmarks.quality amazon-beauty                                   # all that train in seconds
    python -m benchmarks.quality amazon-beauty --voices sequence --ties file --work work/quality
    python -m benchmarks.quality amazon-beauty --on valid --protocols strict --ties file   # the test set stays closed

Prints one JSON line: `voices.NAME.PROTOCOL.TIES.MASK.ndcg_at_10` and `recall_at_10`. `strict` learns from all but a
user's last two items; `refit` was built once more with the validation items, with the same settings. `file` reads
events of one time in the file's order, `shuffle` in an order drawn before the split. Leave-one-out, the whole catalogue
ranked. Products of equal text stay apart, as in the catalogues that published figures are of. The data lies in
../shared/data (`--data`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from components.console import Console
from components.data.clean.clean import clean
from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.evaluation.arrays import Cases, cases
from components.evaluation.contenders import VARIANTS, Variant
from components.evaluation.metrics import ndcg, recall
from components.progress import reporting
from components.recommender.catalogue import Catalogue
from components.settings.file import from_dict, load
from components.settings.params import Params, Ties
from components.storage.artifacts import publish_json
from components.storage.layout import Layout
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned, in_order
from components.voices.lists import places
from components.voices.load import build, names
from components.voices.voice import Voice

ROOT = Path(__file__).resolve().parents[1]
PROTOCOLS, TIES = ("strict", "refit"), ("file", "shuffle")
SLOW = ("sequence",)
"""Voices that are asked for by name; `left_out` says which were not asked."""
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder of --data, such as amazon-beauty")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--voices", nargs="+", choices=names(), default=[name for name in names() if name not in SLOW])
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--ties", nargs="+", choices=TIES, default=TIES)
    parser.add_argument("--on", choices=("test", "valid"), default="test", help="whose targets are ranked")
    parser.add_argument("--users", type=int, default=0, help="rank so many users, chosen by a hash (0: all)")
    parser.add_argument("--work", type=Path, help="where trainings keep their checkpoints, to go on when run again")
    parser.add_argument("--params", type=Path, help="default: params/DATASET.yaml, or what idiom init suggests")
    chosen = parser.parse_args()
    if chosen.on == "valid" and "refit" in chosen.protocols:
        parser.error("validation items are training data in refit: give --on valid --protocols strict")
    result = {"benchmark": "quality", "dataset": chosen.dataset, "on": chosen.on, **measure(chosen)}
    print(json.dumps(result | machine.facts()))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """`voices.NAME.PROTOCOL.TIES.MASK.METRIC`, seconds of building and ranking of each voice, and facts."""
    raw = chosen.data / chosen.dataset
    params = settings(chosen.params or ROOT / "params" / f"{chosen.dataset}.yaml", raw)
    voices: dict[str, Any] = {name: {protocol: {} for protocol in chosen.protocols} for name in chosen.voices}
    seconds, facts = dict.fromkeys(chosen.voices, 0.0), {}
    with tempfile.TemporaryDirectory() as folder, reporting(Console()) as progress:
        for ties in chosen.ties:
            shop = read(params, raw, Path(folder) / ties, ties)
            for protocol, name in itertools.product(chosen.protocols, chosen.voices):
                asked = shop.cases(refit=protocol == "refit", on=chosen.on, max_users=chosen.users, seed=params.seed)
                learned = replace(shop.learned(asked), seed=params.seed, work=chosen.work, progress=progress)
                started = time.perf_counter()
                voices[name][protocol][ties] = figures(build(name, learned, params.voices), asked)
                seconds[name] += time.perf_counter() - started
                facts = {"users": len(asked.user_ids), "items": len(asked.item_ids), "seed": params.seed}
    return {
        **facts,
        "left_out": [name for name in names() if name not in chosen.voices],
        "voices": voices,
        "seconds": {name: round(each, 1) for name, each in seconds.items()},
    }


def settings(file: Path, raw: Path) -> Params:
    """Those of a preset, or of what `idiom init` would write; the catalogue is that of the papers."""
    params = load(file) if file.is_file() else from_dict(suggest(raw)["params"])
    return replace(params, clean=replace(params.clean, merge_duplicates=False))


@dataclass(frozen=True)
class Shop:
    """The clean tables of a data set."""

    items: pl.DataFrame
    histories: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame
    drop_repeats: bool

    def cases(self, *, refit: bool, on: str, max_users: int, seed: int) -> Cases:
        """What is asked: the test targets, or with `on` "valid" the validation targets."""
        asked = self.test if on == "test" else self.valid
        return cases(self.items, self.histories, self.valid, asked, refit=refit, max_users=max_users, seed=seed)

    def learned(self, asked: Cases) -> Learned:
        """What a voice may learn from; items are known by their ids alone."""
        ids = asked.item_ids
        table = IdTable(ids, ids, tuple((number,) for number in range(len(ids))))
        catalogue = Catalogue(table, drop_repeats=self.drop_repeats)
        texts = in_order(ids, self.items.to_dict(as_series=False))
        return Learned(catalogue, asked.train, asked.train_days, texts)


def read(params: Params, raw: Path, workspace: Path, ties: Ties) -> Shop:
    """Raw files -> clean tables, by the project's own stages."""
    layout = Layout(workspace, params.dataset)
    ingest(params.ingest, raw, layout)
    publish_json(layout.verdict, {"passed": True})  # whether shuffled data would pass is not the question here
    clean(replace(params.clean, ties=ties), params.seed, layout)
    tables = (layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets)
    items, histories, valid, test = (pl.read_parquet(path) for path in tables)
    return Shop(items, histories, valid, test, drop_repeats=params.clean.drop_repeats)


def figures(voice: Voice, asked: Cases) -> dict[str, dict[str, float]]:
    """MASK -> recall and NDCG at 10, of ranks in the whole catalogue."""
    found: dict[Variant, list[np.ndarray]] = {mask: [] for mask in VARIANTS}
    start = 0
    for block, scores in voice.blocks(asked.prompts, asked.prompt_days):
        targets = asked.targets[start : start + len(block)]
        start += len(block)
        found["unmasked"].append(places(scores, targets, least=voice.LEAST))
        found["masked"].append(places(scores, targets, least=voice.LEAST, excluded=block))
    ranks = {mask: np.concatenate(each) for mask, each in found.items()}
    return {
        mask: {"ndcg_at_10": _mean(ndcg(rank, K)), "recall_at_10": _mean(recall(rank, K))}
        for mask, rank in ranks.items()
    }


def _mean(values: np.ndarray) -> float:
    return round(float(np.mean(values)), 6)


if __name__ == "__main__":
    main()
