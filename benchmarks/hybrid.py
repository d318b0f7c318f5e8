"""Users per second of the modes `generate`, `rank` and `hybrid`, and seconds of learning, by the size of the catalogue;
and the ranker beside other libraries on a real data set.

    python -m benchmarks.hybrid                                  # made-up shops of 10,000 and 100,000 items
    python -m benchmarks.hybrid --catalogue 10000 1000000        # above --rank-up-to: dense search of two voices alone
    python -m benchmarks.hybrid --catalogue --dataset amazon-scientific --peers-python /elsewhere/bin/python

One thread, and seconds of its CPU time, so that whoever else is on the machine counts little. The language model has
random weights (what a step costs does not depend on what it knows), 20 beams; the ranker is taught.
`ratio_hybrid_cost`: seconds of `hybrid` over those of `generate` for the same users, less 1. `train_seconds_VOICE`: of
building it alone; `train_seconds_ranker`: of all that `rank` does (voices twice, lists, both kinds of ranker). `rows`
has one for each size. A made-up shop has half as many users as items, of whom 2,000 teach the ranker.

`peers`: libraries that stand in another environment (benchmarks/peers.py says which), asked by its interpreter for the
same users of a real data set; all are judged on validation targets, strict, in the file's order, seen items masked, so
that a benchmark opens no test set. Our ranker's epoch is chosen by these targets too. `train_seconds` is all until the
first answer. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from benchmarks.decode import synthetic
from benchmarks.hybrid_quality import held_of
from benchmarks.shop import read, settings
from components.networks.backbone import build as network
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.modes import Choice, Modes
from components.ranking.teaching import teach
from components.ranking.training import gains
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.interface import Recommender
from components.recommender.pair import Pair
from components.recommender.prompts.phrasings import Prompts
from components.settings.decoding import Decoding, Mode
from components.settings.params import Params
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.artifacts import publishing
from components.storage.manifest import write_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import train_tokenizer
from components.voices.learned import Learned
from components.voices.lists import best
from components.voices.load import build
from components.voices.voice import Scorer

ROOT = Path(__file__).resolve().parents[1]
MODES: tuple[Mode, ...] = ("generate", "rank", "hybrid")
SIZES = {
    "tiny": ("tiny", 8192),
    "t5-small": ("d_model=512,layers=6,heads=8,d_ff=2048", 32100),
    "preset": ("d_model=192,layers=3,heads=4,d_ff=576", 8192),
    "micro": ("micro", 400),
}
"""Name -> size of `backbone.build`, words of the vocabulary."""
SEARCHED = ("graph", "text")
"""Voices whose dense search is measured at every size."""
K = 10
TAUGHT = 2000
"""Users at most whose lists the ranker of a made-up shop is taught on, and as many that it is chosen on."""
_DAY = 86_400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--catalogue", type=int, nargs="*", default=[10_000, 100_000], help="items of each made-up shop"
    )
    parser.add_argument("--rank-up-to", type=int, default=200_000, help="larger shops get no ranker")
    parser.add_argument("--users", type=int, default=256, help="users who ask")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny", help="of the language model")
    parser.add_argument("--dataset", help="a folder of --data, on which peers are asked too")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--peers-python", help="an interpreter that has the libraries (default: peers are left out)")
    parser.add_argument("--peer-epochs", type=int, default=20, help="of the peers that train by epochs")
    parser.add_argument("--quick", action="store_true", help="one shop of 300 items, a language model of no size")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.catalogue, chosen.users, chosen.size = [300], 20, "micro"
    print(json.dumps(run(chosen)))


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    rows = [shop_of_size(items, chosen) for items in chosen.catalogue]
    found: dict[str, Any] = {"benchmark": "hybrid", "size": chosen.size, "users": chosen.users, "beams": 20}
    found |= rows[0] if rows else {}
    if chosen.dataset:
        found["peers"] = {"dataset": chosen.dataset, **beside_peers(chosen)}
    return {**found, "rows": rows, **machine.facts()}


def shop_of_size(items: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The figures of one made-up shop."""
    learned, held, words = made_up(items)
    asked = held.some(chosen.users, seed=17)
    row: dict[str, Any] = {"items": len(words), "training_users": len(learned.histories)}
    row |= {f"train_seconds_{name}": seconds for name, seconds in building(learned, chosen, row["items"]).items()}
    for name in SEARCHED:
        voice = build(name, learned)
        row[f"users_per_s_search_{name}"] = rate(voice, asked)
    if row["items"] > chosen.rank_up_to:
        return row | {"left_out": "rank and hybrid: the neighbours of all texts are compared pair by pair"}
    with tempfile.TemporaryDirectory() as folder:
        engine = language_model(Path(folder) / "pair", words, SIZES[chosen.size])
        started = time.process_time()
        taught = teach(learned, held, Rank(most_users=TAUGHT), Voices(), core=0)
        row["train_seconds_ranker"] = round(time.process_time() - started, 2)
        hybrid = Hybrid.of(taught.choice.ranker, taught.reader, engine.catalogue, Voices())
        modes = Modes(engine.catalogue, lambda: engine, lambda: hybrid, Choice("hybrid", 0.2))
        seconds = asking(modes, asked)
    row |= {f"users_per_s_{mode}": round(len(asked.histories) / seconds[mode], 2) for mode in MODES}
    return row | {"ratio_hybrid_cost": round(seconds["hybrid"] / seconds["generate"] - 1.0, 3)}


def made_up(items: int) -> tuple[Learned, Held, list[str]]:
    """A shop of `items` items on shelves of some fifty, of which a user's history has two or three, often one after
    the other of the list; half as many users as items, 200 at least and 50,000 at most. Titles are made-up words."""
    words, _ = synthetic(items, users=0)
    count, draw = len(words), np.random.default_rng(17)
    users = min(max(count // 2, 200), 50_000)
    shelves = max(count // 50, 2)
    rows, days = [], []
    for _ in range(users):
        length = int(draw.integers(5, 16))
        shelf = draw.integers(shelves, size=3)[draw.integers(3, size=length)]
        place = (50 * draw.random(length) ** 2).astype(int)
        rows.append(((shelf + place * shelves) % count).tolist())
        days.append(16_000.0 + draw.integers(300) + np.cumsum(draw.choice([0.0, 3.0, 40.0], length)))
    histories = Ragged.of([row[:-1] for row in rows])
    known = np.concatenate([each[:-1] for each in days])
    texts: dict[str, Sequence[Any]] = {
        "title": words,
        "brand": [text.split()[0] for text in words],
        "categories": [["all", f"shelf {number % shelves}"] for number in range(count)],
    }
    ids = tuple(f"i{number:07d}" for number in range(count))
    table = IdTable(ids, ids, tuple((number,) for number in range(count)))
    learned = Learned(Catalogue(table, drop_repeats=False), histories, known, texts)
    return learned, Held(histories, known, np.array([row[-1] for row in rows], np.int64)), words


def building(learned: Learned, chosen: argparse.Namespace, items: int) -> dict[str, float]:
    """Seconds of building each voice of the ranker by itself."""
    found = {}
    for name in Rank().voices if items <= chosen.rank_up_to else SEARCHED:
        learned.of_texts.clear()  # what another voice made of the texts
        started = time.process_time()
        build(name, learned)
        found[name] = round(time.process_time() - started, 2)
    return found


def language_model(folder: Path, words: Sequence[str], size: tuple[str, int]) -> Engine:
    shape, vocabulary = size
    tokenizer = train_tokenizer(words[:50_000], vocabulary_size=vocabulary)
    model = network("scratch", size=shape, vocabulary_size=len(tokenizer), dropout=0.0, seed=17)
    table = IdTable.from_words(tokenizer, {f"i{number:07d}": said for number, said in enumerate(words)})
    with publishing(folder) as directory:
        Pair(model, model, tokenizer, Prompts(), table, {"max_history": 20}).write(directory)
        write_manifest(directory)
    return Engine.load(folder, device="cpu")


def asking(modes: Recommender, asked: Held) -> dict[Mode, float]:
    """Seconds of each mode for all users: the faster of two rounds, in turn, so that a busy machine slows all alike."""
    ids = modes.catalogue.table.item_ids
    histories = [[ids[item] for item in history] for history in asked.histories]
    times = [(row * _DAY).tolist() for row in Ragged(asked.histories.offsets, asked.days)]
    seconds = dict.fromkeys(MODES, np.inf)
    for mode in MODES:
        modes.recommend(histories[:4], K, Decoding(mode=mode), times=times[:4])
    for _ in range(2):
        for mode in MODES:
            started = time.process_time()
            modes.recommend(histories, K, Decoding(mode=mode), times=times)
            seconds[mode] = min(seconds[mode], time.process_time() - started)
    return seconds


def rate(scorer: Scorer, asked: Held) -> float:
    """Users/s of the `K` best items of each."""
    started = time.process_time()
    for block, scores in scorer.blocks(asked.histories, asked.days):
        best(scores, K, least=scorer.LEAST, excluded=block)
    return round(len(asked.histories) / (time.process_time() - started), 2)


def beside_peers(chosen: argparse.Namespace) -> dict[str, Any]:
    """NAME -> seconds, users/s and quality of ours and of each peer."""
    raw = chosen.data / chosen.dataset
    params: Params = settings(ROOT / "params" / f"{chosen.dataset}.yaml", raw)
    with tempfile.TemporaryDirectory() as folder:
        shop = read(params, raw, Path(folder) / "shop", "file")
        cases = shop.cases(refit=False, on="valid", max_users=0, seed=params.seed)
        learned, held = shop.learned(cases), held_of(cases)
        started = time.process_time()
        core = params.clean.min_item_interactions if params.clean.core == "all" else 0
        taught = teach(learned, held, params.rank, params.voices, core=core)
        seconds = time.process_time() - started
        hybrid = Hybrid.of(taught.choice.ranker, taught.reader, learned.catalogue, params.voices)
        some = held.some(chosen.users, seed=17)
        ours = {
            "train_seconds": round(seconds, 1),
            "users_per_s": rate(hybrid, some),
            "ndcg_at_10": round(float(gains(taught.choice.ranks[taught.choice.ranker.used]).mean()), 6),
        }
        found: dict[str, Any] = {"users": len(held.histories), "items": len(cases.item_ids), "rank": ours}
        if chosen.peers_python is None:
            return found | {"left_out": "no --peers-python"}
        given = Path(folder) / "histories.npz"
        np.savez(given, offsets=held.histories.offsets, values=held.histories.values, items=len(cases.item_ids))
        script = Path(__file__).with_name("peers.py")
        command = [chosen.peers_python, str(script), str(given), folder, "--epochs", str(chosen.peer_epochs)]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        for name, figures in json.loads(ran.stdout.splitlines()[-1]).items():
            if (lists := Path(folder) / f"{name}.npy").is_file():
                figures["ndcg_at_10"] = round(float(gains(_ranks(np.load(lists), held.targets)).mean()), 6)
            found[name] = figures
    return found


def _ranks(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[users] the place of the target in each list [users, k], from 1; 0 where it is not there."""
    users, places = np.nonzero(lists == targets[:, None])
    ranks = np.zeros(len(targets), np.int64)
    ranks[users] = places + 1
    return ranks


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
