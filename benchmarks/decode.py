"""Users per second of constrained decoding, against Hugging Face `generate` with `prefix_allowed_tokens_fn`.

    python -m benchmarks.decode                      # tiny: 2 layers, d = 128, vocabulary 8,192
    python -m benchmarks.decode --size t5-small      # T5-small's sizes, vocabulary 32,128; Hugging Face on 8 users

One run, one model (random weights), one trie, the same prompts. Beauty's own IDs and histories where the real data lies
beside the checkout, synthetic words elsewhere. Prints one JSON line; answers within a minute.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import facts
from components.recommender.batches import MAX_TOKENS, pad_prompts
from components.recommender.beams import Hits
from components.recommender.decode import BeamSearch
from components.recommender.encoder_decoder import EncoderDecoder
from components.recommender.prompts import Prompt, Prompts
from components.recommender.trie import Trie
from components.textid.backbone import build
from components.textid.tokenizer import encode_words, train_tokenizer
from components.textid.words import normalise
from tests.recommender.references import Answer, by_hugging_face

BEAUTY = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-beauty"
TOKENIZER_SIZE = 8192
SIZES = {"tiny": ("tiny", 8192, 64, 32), "t5-small": ("small", 32128, 32, 8)}
"""Name -> size of `backbone.build`, vocabulary of the model, users for us, users for Hugging Face."""


def beauty() -> tuple[list[str], list[list[int]]]:
    """Words of the items, histories as item numbers."""
    with gzip.open(BEAUTY / "reference_ids.tsv.gz", "rt", encoding="utf-8") as stream:
        named = [line.rstrip("\n").split("\t") for line in list(stream)[1:]]
    words = {item: normalise(text) for item, text in named}
    # One item has an empty ID, and a few become equal as words: this benchmark leaves them out.
    first = {text: item for item, text in sorted(words.items(), reverse=True) if text}
    numbers = {item: number for number, item in enumerate(sorted(first.values()))}
    histories: dict[str, list[int]] = {}
    with gzip.open(BEAUTY / "interactions.tsv.gz", "rt", encoding="utf-8") as stream:
        for line in list(stream)[1:]:
            user, item = line.split("\t")[:2]
            if item in numbers:
                histories.setdefault(user, []).append(numbers[item])
    return [words[item] for item in numbers], [history[:-1] for history in histories.values()]


def synthetic(items: int = 12_000, users: int = 500) -> tuple[list[str], list[list[int]]]:
    """The same from made-up words."""
    random = np.random.default_rng(17)
    syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "u", "an", "er", "in")]
    lexicon = sorted({"".join(random.choice(syllables, size=random.integers(2, 4))) for _ in range(5000)})
    places = (len(lexicon) * random.random((items * 2, 5)) ** 3).astype(int)
    words = list(dict.fromkeys(" ".join(lexicon[p] for p in row[: 2 + row[0] % 4]) for row in places))[:items]
    return words, [random.integers(len(words), size=random.integers(4, 20)).tolist() for _ in range(users)]


def timed(decode: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """(result, seconds of the fastest run): others may use the machine, which only ever slows a run down."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = decode()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def answer(hits: Hits) -> Answer:
    rows = zip(hits.items.tolist(), hits.scores.tolist(), strict=True)
    return [[(item, score) for item, score in zip(*row, strict=True) if item >= 0] for row in rows]


def difference(found: Answer, expected: Answer) -> float:
    """Largest difference of two scores at the same rank."""
    pairs = zip(found, expected, strict=True)
    return max(abs(a - b) for one, two in pairs for (_, a), (_, b) in zip(one, two, strict=False))


def run(size: str, users: int, slow_users: int, beams: int) -> dict[str, Any]:
    """Measure all three decoders. Returns the figures."""
    shape, vocabulary, *_ = SIZES[size]
    words, histories = beauty() if BEAUTY.is_dir() else synthetic()
    tokenizer = train_tokenizer(words, vocabulary_size=TOKENIZER_SIZE)
    ids = encode_words(tokenizer, words)
    model: Any = build("scratch", size=shape, vocabulary_size=vocabulary, dropout=0.0, seed=17)
    recommender, trie = EncoderDecoder(model), Trie.build(ids, end_token=1)
    pieces = Prompts().tokenise(tokenizer)

    def prompts(count: int) -> list[Prompt]:
        return [
            pieces.build(0, [ids[item] for item in history[-20:]], max_tokens=MAX_TOKENS)
            for history in histories[:count]
        ]

    batch, slow_batch = pad_prompts(prompts(users)), pad_prompts(prompts(slow_users))
    reference, hf_seconds = timed(lambda: by_hugging_face(model, ids, *slow_batch, beams=beams, results=beams), 1)
    figures: dict[str, Any] = {"users_per_s_hf": slow_users / hf_seconds}
    illegal, found = 0, {}
    for mode in ("vocabulary", "trie"):
        search = BeamSearch(recommender, trie, beams=beams, scores=mode)
        found[mode] = answer(search(*slow_batch))  # also warms up
        hits, seconds = timed(lambda search=search: search(*batch), 2)
        illegal += sum(not 0 <= item < len(ids) for row in answer(hits) for item, _ in row)
        figures[f"users_per_s_{mode}"] = users / seconds
        figures[f"ratio_{mode}"] = users / seconds / figures["users_per_s_hf"]
        figures[f"ms_per_step_{mode}"] = 1e3 * seconds / trie.depth
    items = [[[item for item, _ in row] for row in rows] for rows in (found["vocabulary"], reference)]
    return {
        "benchmark": "decode",
        "size": size,
        **{name: round(value, 2) for name, value in figures.items()},
        "top_k_equal": items[0] == items[1],
        "max_score_difference": float(f"{difference(found['vocabulary'], reference):.2g}"),
        "illegal": illegal,
        "beams": beams,
        "users": users,
        "users_hf": slow_users,
        "prompt_tokens": batch[0].shape[1],
        "items": len(ids),
        "nodes": trie.nodes,
        "depth": trie.depth,
        "data": "amazon-beauty" if BEAUTY.is_dir() else "synthetic",
        **facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--users", type=int, help="users of our decoders, one batch (tiny: 64, t5-small: 32)")
    parser.add_argument("--slow-users", type=int, help="users of Hugging Face, one batch (tiny: 32, t5-small: 8)")
    parser.add_argument("--beams", type=int, default=20)
    given = parser.parse_args()
    users, slow_users = SIZES[given.size][2:]
    print(json.dumps(run(given.size, given.users or users, given.slow_users or slow_users, given.beams)))


if __name__ == "__main__":
    main()
