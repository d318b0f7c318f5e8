"""Users per second of constrained decoding, against Hugging Face `generate` with `prefix_allowed_tokens_fn`.

    python -m benchmarks.decode                      # tiny: 2 layers, d = 128, vocabulary 8,192
    python -m benchmarks.decode --size t5-small      # T5-small's sizes, vocabulary 32,128; Hugging Face on 8 users
    python -m benchmarks.decode --slow-users 0 --beams 10 20 50 100              # ours alone, a row for each
    python -m benchmarks.decode --slow-users 0 --catalogue 10000 100000 1000000  # IDs of made-up words

    python -m benchmarks.decode --device cuda --dtype bfloat16 --peak-tflops 990 --peak-gb-per-s 3350

One run, one model (random weights), one trie, the same prompts. Beauty's own IDs and histories where the real data lies
beside the checkout, synthetic words elsewhere. `overhead`: of the constraint, seconds of the search for a GPU
in `vocabulary` mode over those of the same search without a trie, less 1: as many steps, as many beams, one batch, the
same products (no early end, which would flatter the trie). It may be below zero on a CPU: without a trie, the
best of beams x vocabulary must be found, of which the constraint leaves a few children. `ms_per_step_*`: of one call.
`users_per_s_forced_*`: exact scores of 200 given items a user. `*_per_step`: operations and bytes that a step of that
search needs at least, and `roofline_share` the least time that they take at the peaks given, over the time taken.
Prints one JSON line, with `rows` where more than one size was asked for; answers within a minute by default.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import facts
from components.networks.backbone import build
from components.networks.cpu import use_cpu_kernels, use_library_kernels
from components.networks.t5 import T5
from components.recommender.batches.batch import MAX_TOKENS, pad_prompts
from components.recommender.prompts.phrasings import Prompts
from components.recommender.search.beams import Hits
from components.recommender.search.forced import ForcedScoring
from components.recommender.search.search import BeamSearch
from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import encode_words, train_tokenizer
from tests.recommender.references import Answer, by_hugging_face

BEAUTY = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-beauty"
TOKENIZER_SIZE = 8192
TOKENIZER_TEXTS = 50_000
"""IDs that the tokenizer is trained on: more of the same words teach it nothing."""
REPEATS = 2
CANDIDATES, FORCED_USERS = 200, 10
"""Given items of a user whose scores are computed, and users at a time."""
Peaks = tuple[float, float]
"""Of the device: 1e12 operations a second and 1e9 bytes a second; zeros where they are not known."""
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
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def steps_of(recommender: T5, decode: Callable[[], Any]) -> int:
    """How often the model is asked for a step."""
    count, step = itertools.count(), recommender.step

    def counted(*given: Any) -> Tensor:
        next(count)
        return step(*given)

    recommender.step = counted  # type: ignore[assignment, method-assign]
    try:
        decode()
    finally:
        recommender.step = step  # type: ignore[method-assign]
    return next(count)


def answer(hits: Hits) -> Answer:
    rows = zip(hits.items.tolist(), hits.scores.tolist(), strict=True)
    return [[(item, score) for item, score in zip(*row, strict=True) if item >= 0] for row in rows]


def difference(found: Answer, expected: Answer) -> float:
    """Largest difference of two scores at the same rank."""
    pairs = zip(found, expected, strict=True)
    return max(abs(a - b) for one, two in pairs for (_, a), (_, b) in zip(one, two, strict=False))


def scored(scoring: ForcedScoring, batch: tuple[Tensor, Tensor]) -> None:
    """Scores of random candidates of each user, some users at a time as the engine does it."""
    random = np.random.default_rng(17)
    for input_ids, mask in zip(*(part.split(FORCED_USERS) for part in batch), strict=True):
        chosen = random.integers(scoring.trie.items, size=(len(input_ids), CANDIDATES))
        scoring(input_ids, mask, Ragged.of(chosen.tolist()))


@torch.no_grad()
def unconstrained(recommender: T5, input_ids: Tensor, mask: Tensor, *, beams: int, steps: int) -> Tensor:
    """Beam search over the whole vocabulary with the same model code: what decoding costs without a trie."""
    rows = recommender.output_rows(torch.arange(recommender.vocabulary_size, device=mask.device))
    state = recommender.prefill(input_ids, mask, capacity=1 + beams * steps)
    tokens = torch.full_like(input_ids[:, :1], recommender.start_token)
    parents, scores = torch.zeros_like(tokens), torch.zeros(tokens.shape, device=mask.device)
    for _ in range(steps):
        hidden = recommender.step(state, tokens[:, :, None], parents)[:, :, 0]
        gained = torch.log_softmax(hidden.float() @ rows.T, dim=-1)
        scores, place = (scores[:, :, None] + gained).flatten(1).topk(beams, dim=1)
        parents, tokens = place // len(rows), place % len(rows)
    return scores


@torch.no_grad()
def constraint(
    recommender: T5, trie: Trie, batch: tuple[Tensor, Tensor], *, beams: int, peaks: Peaks
) -> dict[str, float]:
    """The cost of the trie, and of a step against what the machine could do: the search for a GPU."""
    search = BeamSearch(recommender, trie, beams=beams, way="gpu")
    capacity = 1 + beams * trie.depth
    taken: dict[str, list[float]] = {"free": [], "bound": [], "prompt": []}
    for _ in range(REPEATS):  # in turn, so that what else the machine does meets all of them
        taken["free"].append(timed(lambda: unconstrained(recommender, *batch, beams=beams, steps=trie.depth), 1)[1])
        taken["bound"].append(timed(lambda: search(*batch), 1)[1])
        taken["prompt"].append(timed(lambda: recommender.prefill(*batch, capacity=capacity), 1)[1])
    free, bound, prompt = (min(seconds) for seconds in taken.values())
    step = (bound - prompt) / trie.depth
    operations, moved = needed(recommender, *batch[0].shape, beams=beams, steps=trie.depth)
    figures = {
        "users_per_s_unconstrained": len(batch[0]) / free,
        "users_per_s_fixed": len(batch[0]) / bound,
        "overhead": bound / free - 1,
        "ms_per_step_fixed": 1e3 * step,
        "gflop_per_step": operations / 1e9,
        "mb_per_step": moved / 1e6,
        "gflop_per_s": operations / 1e9 / step,
    }
    if all(peaks):
        figures["roofline_share"] = max(operations / 1e12 / peaks[0], moved / 1e9 / peaks[1]) / step
    return figures


def needed(recommender: T5, users: int, prompt: int, *, beams: int, steps: int) -> tuple[float, float]:
    """Floating-point operations and bytes of one step of all beams, half way through: what no program can go below.

    Weights and caches are read once, logits (float32) are written once; the keys of the prompt were made before.
    """
    module: Any = recommender.module
    rows = users * beams
    head = recommender.output_rows(torch.zeros(1, dtype=torch.long, device=module.device)).shape[1]
    output = recommender.vocabulary_size * head
    layers = [
        weight.numel()
        for name, weight in module.decoder.named_parameters()
        if weight.dim() == 2 and "EncDecAttention.k" not in name and "EncDecAttention.v" not in name
        if "embed_tokens" not in name and "relative_attention_bias" not in name
    ]
    inner = module.config.num_heads * module.config.d_kv * module.config.num_decoder_layers
    written = beams * steps / 2
    size = module.dtype.itemsize
    operations = 2.0 * rows * (sum(layers) + output) + 4.0 * rows * inner * (prompt + steps / 2)
    moved = size * sum(layers) + 4.0 * output + 2 * size * users * inner * (prompt + written)
    return operations, moved + 4.0 * rows * recommender.vocabulary_size


def catalogue_of(items: int | None) -> tuple[list[str], list[list[int]], str]:
    """Words, histories and their source: Beauty's where they are there and no size is asked for."""
    if items is None and BEAUTY.is_dir():
        return *beauty(), "amazon-beauty"
    return *(synthetic() if items is None else synthetic(items)), "synthetic"


def run(
    size: str,
    users: int,
    slow_users: int,
    beams: int,
    catalogue: int | None = None,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    peaks: Peaks = (0.0, 0.0),
) -> dict[str, Any]:
    """Measure all decoders; Hugging Face only with `slow_users`. Returns the figures."""
    shape, vocabulary, *_ = SIZES[size]
    words, histories, source = catalogue_of(catalogue)
    tokenizer = train_tokenizer(words[:TOKENIZER_TEXTS], vocabulary_size=TOKENIZER_SIZE)
    ids = encode_words(tokenizer, words)
    model: Any = build("scratch", size=shape, vocabulary_size=vocabulary, dropout=0.0, seed=17)
    model = model.to(device, dtype).eval()
    recommender, trie = T5(model, end_token=1), Trie.build(ids, end_token=1).to(device)
    pieces = Prompts().tokenise(tokenizer)

    def prompts(count: int) -> tuple[Tensor, Tensor]:
        read = [
            pieces.build(0, [ids[item] for item in history[-20:]], max_tokens=MAX_TOKENS)
            for history in histories[:count]
        ]
        input_ids, mask = pad_prompts(read)
        return input_ids.to(device), mask.to(device)

    batch, slow_batch = prompts(users), prompts(slow_users or 1)
    figures: dict[str, Any] = {}
    if slow_users:
        use_library_kernels(
            model
        )  # as the library has it: our faster linear layers are no part of what people write today
        reference, seconds = timed(lambda: by_hugging_face(model, ids, *slow_batch, beams=beams, results=beams), 1)
        use_cpu_kernels(model)
        figures["users_per_s_hf"] = slow_users / seconds
    illegal, found = 0, {}
    for mode in ("vocabulary", "trie"):
        search = BeamSearch(recommender, trie, beams=beams, scores=mode)
        found[mode] = answer(search(*slow_batch))
        steps = steps_of(recommender, partial(search, *batch))  # also warms up
        hits, seconds = timed(partial(search, *batch), REPEATS)
        illegal += sum(not 0 <= item < len(ids) for row in answer(hits) for item, _ in row)
        figures[f"users_per_s_{mode}"] = users / seconds
        figures[f"ms_per_step_{mode}"] = 1e3 * seconds / steps
        if slow_users:
            figures[f"ratio_{mode}"] = users / seconds / figures["users_per_s_hf"]
        scoring = ForcedScoring(recommender, trie, candidates=CANDIDATES, scores=mode, length_penalty=0.0)
        _, seconds = timed(partial(scored, scoring, batch), 1)
        figures[f"users_per_s_forced_{mode}"] = users / seconds
    figures |= constraint(recommender, trie, batch, beams=beams, peaks=peaks)
    figures = {name: round(value, 3) for name, value in figures.items()}
    if slow_users:
        items = [[[item for item, _ in row] for row in rows] for rows in (found["vocabulary"], reference)]
        figures["top_k_equal"] = items[0] == items[1]
        figures["max_score_difference"] = float(f"{difference(found['vocabulary'], reference):.2g}")
    return {
        "size": size,
        **figures,
        "illegal": illegal,
        "beams": beams,
        "candidates": CANDIDATES,
        "users": users,
        "users_hf": slow_users,
        "prompt_tokens": batch[0].shape[1],
        "items": len(ids),
        "nodes": trie.nodes,
        "depth": trie.depth,
        "data": source,
        "device": device,
        "dtype": str(dtype).removeprefix("torch."),
        "graph": False,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--users", type=int, help="users of our decoders, one batch (tiny: 64, t5-small: 32)")
    parser.add_argument("--slow-users", type=int, help="users of Hugging Face (tiny: 32, t5-small: 8; 0: leave it out)")
    parser.add_argument("--beams", type=int, nargs="+", default=[20])
    parser.add_argument("--catalogue", type=int, nargs="+", default=[None], help="items with IDs of made-up words")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the model's weights")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="of the device, for `roofline_share`")
    parser.add_argument("--peak-gb-per-s", type=float, default=0.0, help="of its memory")
    given = parser.parse_args()
    place = {"device": given.device, "dtype": getattr(torch, given.dtype)}
    peaks = given.peak_tflops, given.peak_gb_per_s
    users, slow_users = SIZES[given.size][2:]
    slow_users = slow_users if given.slow_users is None else given.slow_users
    rows = [
        run(given.size, given.users or users, slow_users, beams, catalogue, **place, peaks=peaks)
        for catalogue in given.catalogue
        for beams in given.beams
    ]
    print(json.dumps({"benchmark": "decode", **(rows[0] if len(rows) == 1 else {"rows": rows}), **facts()}))


if __name__ == "__main__":
    main()
