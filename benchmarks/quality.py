"""How good is every voice on a real data set, and the ranker over them, by both protocols and both orders of ties, with
seen items masked and not?

    python -m benchmarks.quality amazon-beauty --jobs 2   # all that train in seconds, and `hybrid`: voices and ranker
    python -m benchmarks.quality amazon-beauty --voices sequence --ties file --work work/quality
    python -m benchmarks.quality amazon-beauty --on valid --protocols strict --ties file   # the test set stays closed

Prints one JSON line: `voices.NAME.PROTOCOL.TIES.MASK.ndcg_at_10` and `recall_at_10`. `strict` learns from all but a
user's last two items; `refit` was built once more with the validation items, with the same settings. `file` reads
events of one time in the file's order, `shuffle` in an order drawn before the split. Leave-one-out, the whole catalogue
ranked. Products of equal text stay apart, as in the catalogues that published figures are of. The data lies in
../shared/data (`--data`). `hybrid`, its variant without counts and times, its slices and `adds` (what each of its
voices adds beyond the rest) are benchmarks/hybrid_quality.py. `--encoder NAME=FOLDER` adds a voice `view:NAME` of text
vectors, alone and in the ranker (components/views/texts.py says what the folder may be).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.hybrid_quality import by_protocol, hybrid
from benchmarks.shop import read, settings
from components.console import Console
from components.evaluation.arrays import Cases
from components.evaluation.contenders import VARIANTS, Variant
from components.evaluation.metrics import ndcg, recall
from components.progress import reporting
from components.ranking.views import with_views
from components.settings.params import Params, Ties
from components.views.texts import encoded
from components.voices.lists import places
from components.voices.load import VIEW, build, names
from components.voices.voice import Voice

ROOT = Path(__file__).resolve().parents[1]
PROTOCOLS, TIES = ("strict", "refit"), ("file", "shuffle")
SLOW = ("sequence",)
"""Voices that are asked for by name; `left_out` says which were not asked."""
HYBRID = "hybrid"
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder of --data, such as amazon-beauty")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    usual = [*(name for name in names() if name not in SLOW), HYBRID]
    parser.add_argument("--voices", nargs="+", choices=[*names(), HYBRID], default=usual)
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--ties", nargs="+", choices=TIES, default=TIES)
    parser.add_argument("--on", choices=("test", "valid"), default="test", help="whose targets are ranked")
    parser.add_argument("--users", type=int, default=0, help="rank so many users, chosen by a hash (0: all)")
    parser.add_argument("--no-adds", dest="adds", action="store_false", help="do not ask what each voice adds")
    parser.add_argument("--jobs", type=int, default=1, help="orders of ties that are measured side by side: 1 or 2")
    parser.add_argument(
        "--encoder", action="append", default=[], metavar="NAME=FOLDER", help="of texts, as in rank.encoders"
    )
    parser.add_argument("--work", type=Path, help="where trainings keep their checkpoints, to go on when run again")
    parser.add_argument("--params", type=Path, help="default: params/DATASET.yaml, or what idiom init suggests")
    chosen = parser.parse_args()
    if chosen.on == "valid" and "refit" in chosen.protocols:
        parser.error("validation items are training data in refit: give --on valid --protocols strict")
    result = {"benchmark": "quality", "dataset": chosen.dataset, "on": chosen.on, **measure(chosen)}
    print(json.dumps(result | machine.facts()))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """`voices.NAME.PROTOCOL.TIES.MASK.METRIC`, seconds of building and ranking of each voice, and facts."""
    file = chosen.params or ROOT / "params" / f"{chosen.dataset}.yaml"
    params = settings(file, chosen.data / chosen.dataset)
    encoders = dict(each.split("=", 1) for each in chosen.encoder)
    params = replace(params, rank=replace(params.rank, encoders={**params.rank.encoders, **encoders}))
    seconds: dict[str, float] = {}
    voices: dict[str, Any] = {}
    facts: dict[str, int] = {}
    hybrids: dict[str, Any] = {}
    with processes(chosen.jobs) as pool:
        for found in pool.map(partial(one_order, chosen, params), chosen.ties):
            hybrids[found.ties] = found.hybrid
            facts = found.facts or facts
            for name, protocol, each in found.voices:
                voices.setdefault(name, {}).setdefault(protocol, {})[found.ties] = each
            for name, spent in found.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + spent
    return {
        **facts,
        "left_out": [name for name in names() if name not in chosen.voices],
        "voices": voices,
        **by_protocol(hybrids),
        "seconds": {name: round(each, 1) for name, each in seconds.items()},
    }


@dataclass(frozen=True)
class Order:
    """What was found with one order of ties."""

    ties: Ties
    voices: list[tuple[str, str, dict[str, Any]]]
    """Voice, protocol, figures."""
    hybrid: dict[str, Any]
    facts: dict[str, int]
    seconds: dict[str, float]


def one_order(chosen: argparse.Namespace, params: Params, ties: Ties) -> Order:
    """All voices and protocols with one order of ties, on one thread: figures do not depend on `--jobs`."""
    torch.set_num_threads(1)
    alone = [name for name in chosen.voices if name != HYBRID] + [f"{VIEW}:{name}" for name in params.rank.encoders]
    found = Order(ties, [], {}, {}, dict.fromkeys([*chosen.voices, *alone], 0.0))
    with tempfile.TemporaryDirectory() as folder, reporting(Console()) as progress:
        shop = read(params, chosen.data / chosen.dataset, Path(folder) / ties, ties)
        if params.rank.encoders:
            texts, dims = shop.items["text"].to_list(), params.rank.encoder_dims
            shop = replace(shop, views=encoded(texts, params.rank.encoders, dims=dims, progress=progress))
            params = replace(params, rank=with_views(params.rank, shop.views))
        if HYBRID in chosen.voices:
            started = time.perf_counter()
            adds = chosen.adds and ties == chosen.ties[0]
            found.hybrid.update(hybrid(shop, params, chosen, progress, adds=adds))
            found.seconds[HYBRID] += time.perf_counter() - started
        for protocol, name in itertools.product(chosen.protocols, alone):
            asked = shop.cases(refit=protocol == "refit", on=chosen.on, max_users=chosen.users, seed=params.seed)
            learned = replace(shop.learned(asked), seed=params.seed, work=chosen.work, progress=progress)
            started = time.perf_counter()
            found.voices.append((name, protocol, figures(build(name, learned, params.voices), asked)))
            found.seconds[name] += time.perf_counter() - started
            found.facts.update(users=len(asked.user_ids), items=len(asked.item_ids), seed=params.seed)
    return found


@contextmanager
def processes(jobs: int) -> Iterator[Any]:
    """Something that maps: this process, or `jobs` others."""
    if jobs == 1:
        yield SimpleNamespace(map=map)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield pool


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
