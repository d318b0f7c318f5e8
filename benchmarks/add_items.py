"""How long until a new item is recommendable without retraining, and how well it is recommended then.

    python -m benchmarks.add_items                                           # 1e6 items, then Amazon Beauty
    python -m benchmarks.add_items --items 20000 --raw ""                    # seconds alone
    python -m benchmarks.add_items --items 0 --raw ../shared/data/amazon-beauty

Prints one JSON line. `seconds_until_recommendable`: from the texts of `--new` items to the first list that holds one of
them, in a process that holds a champion of so many items (as a server does): vectors, ID by the generator, longer ID
table and trie, longer text voice, one question. The items are drawn, the generator is untrained: neither changes the
work. `recall_at_10_*`: users whose next item is one of the `--held-out` share of items that no training saw: the
extended ranker, and the text voice that knew these texts from the beginning, among all items and seen ones left out.
`validation_ndcg_at_10_known_items`: what the ranker is worth for all others, by each of its kinds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.machine import facts
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.trie.append import append
from components.recommender.trie.trie import Trie
from components.registry.extension import NEAREST, name_items
from components.sampling import hash_sample
from components.settings.decoding import Decoding
from components.settings.params import Index
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned, in_order
from components.voices.load import build
from components.voices.text import Text

_WORDS = 40_000


def main() -> None:
    arguments = _arguments()
    found: dict[str, Any] = seconds(arguments) if arguments.items else {}
    if arguments.raw:
        found |= quality(arguments)
    print(json.dumps({"benchmark": "add_items", **found, "settings": vars(arguments), **facts()}))


def seconds(arguments: argparse.Namespace) -> dict[str, Any]:
    """Add `--new` items to a catalogue of `--items`, a part at a time."""
    from components.networks.scratch import scratch_t5
    from components.settings.sizes import SIZES
    from components.textid.words.tokenizer import end_id, pad_id, train_tokenizer

    drawn = np.random.default_rng(arguments.seed)
    texts = _texts(drawn, arguments.items + arguments.new)
    ids = [f"item {number}" for number in range(len(texts))]
    tokenizer = train_tokenizer(texts[:20_000], vocabulary_size=4096)
    shape = {"vocabulary_size": len(tokenizer), "pad_token": pad_id(tokenizer), "end_token": end_id(tokenizer)}
    generator = scratch_t5(SIZES["micro"], dropout=0.0, **shape).eval()
    words = [" ".join(text.split()[:4]) + f" {number}" for number, text in enumerate(texts[: arguments.items])]
    table = IdTable.from_words(tokenizer, dict(zip(ids, words, strict=False)))
    catalogue = Catalogue(table)
    voice = build("text", Learned(catalogue, Ragged.of([[0]]), texts={"title": texts[: arguments.items]}), Voices())
    assert isinstance(voice, Text)
    trie = Trie.build(table.token_ids, end_token=end_id(tokenizer))
    old = {"title": texts[: arguments.items]}
    voice.recommend([[ids[0]]], 10, Decoding())  # as a server that has answered before
    new, new_ids = texts[arguments.items :], ids[arguments.items :]
    parts: dict[str, float] = {}

    def lap(name: str, since: float) -> float:
        now = time.perf_counter()
        parts[name] = round(now - since, 3)
        return now

    begin, busy = time.perf_counter(), time.process_time()
    at = begin
    near, _ = voice.near(voice.of_new({"title": new}, len(new)), NEAREST)
    at = lap("vectors_and_nearest", at)
    beside = [(ids[row], old["title"][row]) for row in sorted(set(near[near >= 0].tolist()))]
    pairs, chosen = list(zip(new_ids, new, strict=True)), Index(max_tokens=16)
    longer_table = name_items(generator, tokenizer, table, beside, pairs, chosen, max_item_tokens=64)
    at = lap("ids", at)
    longer_trie = append(trie, longer_table.token_ids[arguments.items :])
    at = lap("trie", at)
    longer = voice.extended(Catalogue(longer_table), {"title": new})
    closest = ids[int(near[0, 0])]
    answer = longer.recommend([[closest]], 10, Decoding())[0]
    lap("voice_and_answer", at)
    total, computed = time.perf_counter() - begin, time.process_time() - busy
    if new_ids[0] not in [each.item_id for each in answer] or longer_trie.items != len(longer_table):
        raise SystemExit("the new item is not recommended to a history that is close to it")
    return {
        "items": arguments.items,
        "seconds_until_recommendable": round(total, 3),
        "cpu_seconds_until_recommendable": round(computed, 3),
        "parts_seconds": parts,
    }


def _texts(drawn: np.random.Generator, count: int) -> list[str]:
    """Titles of 6 to 12 words, common ones more often; the new ones, at the end, share most words with an old one."""
    vocabulary = np.array([f"w{number:x}" for number in range(_WORDS)])
    chances = 1.0 / (10 + np.arange(_WORDS))
    lengths = drawn.integers(6, 13, count)
    cells = drawn.choice(_WORDS, int(lengths.sum()), p=chances / chances.sum())
    rows = np.split(vocabulary[cells], np.cumsum(lengths)[:-1])
    texts = [" ".join(row) for row in rows]
    return [*texts[:-1], f"{texts[0]} edition"] if count else texts


def quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Recall@10 of items that no training saw, by the extended ranker and by the text voice."""
    from benchmarks.shop import read, settings
    from components.ranking.hybrid import Hybrid
    from components.ranking.teaching import teach
    from components.zero_shot import held_of

    params = settings(Path(arguments.params), Path(arguments.raw))
    if arguments.sample_users:
        params = replace(params, clean=replace(params.clean, sample_users=arguments.sample_users))
    with tempfile.TemporaryDirectory() as name:
        shop = read(params, Path(arguments.raw), Path(name), params.clean.ties)
    everything = shop.items["item_id"].to_list()
    count = int(arguments.held_out * len(everything))
    unseen = {everything[row] for row in hash_sample(everything, count, f"held out:{params.seed}:")}
    few = _without(shop, unseen)
    asked = few.cases(refit=False, on="valid", max_users=0, seed=params.seed)
    learned = few.learned(asked)
    core = params.clean.min_item_interactions if params.clean.core == "all" else 0
    rank = replace(params.rank, hidden_items=arguments.hidden_items)
    taught = teach(learned, held_of(asked), rank, params.voices, core=core, progress=Progress())
    hybrid = Hybrid.of(taught.choice.ranker, taught.reader, learned.catalogue, params.voices)
    ids = learned.catalogue.table.item_ids
    new = shop.items.filter(pl.col("item_id").is_in(list(unseen)))
    longer_ids = (*ids, *new["item_id"])
    table = IdTable(longer_ids, longer_ids, tuple((number,) for number in range(len(longer_ids))))
    catalogue = Catalogue(table, drop_repeats=shop.drop_repeats)
    known, texts = (each.to_dict(as_series=False) for each in (few.items, new))
    started = time.perf_counter()
    longer = hybrid.lengthened(catalogue, in_order(ids, known), texts)
    spent = time.perf_counter() - started
    every = in_order(longer_ids, shop.items.to_dict(as_series=False))
    text = build("text", Learned(catalogue, learned.histories, learned.known_days, every), params.voices)
    test = shop.test.filter(pl.col("target").is_in(list(unseen)))
    histories = shop.histories.select("user_id", "history").join(test, on="user_id")
    prompts = [[*row["history"], *row["context"]] for row in histories.iter_rows(named=True)]
    targets = histories["target"].to_list()
    figures = {}
    asked_of = {"extended_ranker": longer, "text_voice": text, "extended_text_voice": longer.reader.voices["text"]}
    for who, recommender in asked_of.items():
        lists = recommender.recommend(prompts, 10, Decoding())
        hits = [target in [each.item_id for each in row] for target, row in zip(targets, lists, strict=True)]
        figures[f"recall_at_10_{who}"] = round(float(np.mean(hits)), 4)
    return {
        **figures,
        "validation_ndcg_at_10_known_items": taught.choice.report()["validation"],
        "users": len(targets),
        "items_held_out": len(unseen),
        "seconds_to_extend_the_ranker": round(spent, 3),
    }


def _without(shop: Any, unseen: set[str]) -> Any:
    """The tables as if the held-out items had never been there: in no history, and nobody's validation target."""
    gone = list(unseen)
    timed = shop.histories.filter(pl.col("timestamps").is_not_null())
    events = timed.explode("history", "timestamps").filter(~pl.col("history").is_in(gone))
    histories = events.group_by("user_id", maintain_order=True).agg("history", "timestamps").select(timed.columns)
    return replace(
        shop,
        items=shop.items.filter(~pl.col("item_id").is_in(gone)),
        histories=histories,
        valid=shop.valid.filter(~pl.col("target").is_in(gone)).join(histories.select("user_id"), on="user_id"),
        test=shop.test.filter(~pl.col("target").is_in(gone)).join(histories.select("user_id"), on="user_id"),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000, help="items of the catalogue (0: no seconds)")
    parser.add_argument("--new", type=int, default=1, help="items that are added")
    parser.add_argument("--raw", default="../shared/data/amazon-beauty", help='raw data ("": no recall)')
    parser.add_argument("--params", default="params/amazon-beauty.yaml")
    parser.add_argument("--sample-users", type=int, default=0, help="users of the real data (0: all)")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of items that no training sees")
    parser.add_argument("--hidden-items", type=float, default=0.0, help="rank.hidden_items of the ranker")
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
