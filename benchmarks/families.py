"""Targets/s of the recommender phase: decoder-only against encoder-decoder, on the same histories and IDs.

    python -m benchmarks.families                                   # made-up users, tiny, under a minute on two cores
    python -m benchmarks.families --tables artifacts/demo/clean     # what the stage `clean` has written

Prints one JSON line; `ratio` is decoder-only / encoder-decoder. A target is an item that is taught from at least one
item before it. Both families take steps of about `--targets` targets, in turn, so that a busy machine slows down both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.machine import facts
from components.networks.backbone import build
from components.networks.families import language_model
from components.recommender.batches.samples import Rows, Samples
from components.recommender.batches.windows import Windows
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import prompts_of
from components.settings.train import Family
from components.storage.ragged import Ints, Ragged
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import encode_words, train_tokenizer
from components.training.steps.loop import Optimisation

FAMILIES: tuple[Family, Family] = ("encoder-decoder", "decoder-only")
_WARM = 3
"""Steps of each family before the clock starts."""


def main() -> None:
    """Train both families side by side, print one JSON line."""
    arguments = _arguments()
    words, (offsets, items) = _tables(arguments.tables) if arguments.tables else _made_up()
    texts = [text for family in FAMILIES for text in prompts_of(family).texts()]
    tokenizer = train_tokenizer([*words, *texts], vocabulary_size=arguments.vocabulary_size)
    ids = [tokens[:10] for tokens in encode_words(tokenizer, words)]
    steps = {family: _steps(family, tokenizer, ids, offsets, items, arguments) for family in FAMILIES}
    seconds, targets = dict.fromkeys(FAMILIES, 0.0), dict.fromkeys(FAMILIES, 0)
    for number in range(arguments.steps + _WARM):
        for family in FAMILIES:
            spent, taught = next(steps[family])
            if number >= _WARM:
                seconds[family] += spent
                targets[family] += taught
    rates = {family: targets[family] / seconds[family] for family in FAMILIES}
    print(
        json.dumps(
            {
                "benchmark": "families",
                "ratio": round(rates["decoder-only"] / rates["encoder-decoder"], 2),
                "targets_per_s": {family: round(rate, 1) for family, rate in rates.items()},
                "targets_per_step": {family: round(targets[family] / arguments.steps, 1) for family in FAMILIES},
                "targets_per_history": round((len(items) - len(offsets) + 1) / (len(offsets) - 1), 1),
                "parameters": {
                    family: _model(family, len(tokenizer), arguments).num_parameters() for family in FAMILIES
                },
                "settings": {name: str(value) for name, value in vars(arguments).items()},
                **facts(),
            }
        )
    )


def _steps(
    family: Family, tokenizer: Any, ids: list[Any], offsets: Ints, items: Ints, arguments: argparse.Namespace
) -> Iterator[tuple[float, int]]:
    """Endless optimizer steps, as `loop.train` takes them: (seconds, targets) of each."""
    pieces, end = prompts_of(family).tokenise(tokenizer), tokenizer.eos_token_id
    recommender = language_model(_model(family, len(tokenizer), arguments), end_token=end)
    optimizer = Optimisation(seed=17, weight_decay=0.01, grad_clip=1.0, warmup_share=0.05).adamw(recommender.module)
    recommender.module.train()
    begins = set(offsets.tolist())
    per_row = 1.0 if family == "encoder-decoder" else (len(items) - len(offsets) + 1) / (len(offsets) - 1)
    training_set: Any = (
        Samples(Ragged(offsets, items), ids, pieces, end_token=end, max_history=20)
        if family == "encoder-decoder"
        else Windows(Ragged(offsets, items), ids, pieces, max_history=20)
    )
    for epoch in itertools.count():
        for rows in training_set.epoch(seed=17, number=epoch, batch_size=max(1, round(arguments.targets / per_row))):
            started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss = batch_loss(recommender, training_set.collate(rows).to(arguments.device))
            (loss.total / loss.count).backward()
            torch.nn.utils.clip_grad_norm_(recommender.module.parameters(), 1.0)
            optimizer.step()
            if arguments.device.startswith("cuda"):
                torch.cuda.synchronize()
            yield time.perf_counter() - started, _targets(rows, begins)


def _targets(rows: Any, begins: set[int]) -> int:
    """Items that a batch teaches, without the first ones of histories, which the encoder-decoder does not see."""
    if isinstance(rows, Rows):
        return len(rows)
    spans = rows.spans
    return int((spans.end - spans.taught).sum()) - sum(int(first) in begins for first in spans.taught)


def _model(family: Family, vocabulary_size: int, arguments: argparse.Namespace) -> Any:
    size = arguments.causal_size if family == "decoder-only" and arguments.causal_size else arguments.size
    settings = {"size": size, "vocabulary_size": vocabulary_size, "dropout": arguments.dropout, "seed": 1}
    return build("scratch", family=family, **settings).to(arguments.device)


def _tables(folder: Path) -> tuple[list[str], tuple[Ints, Ints]]:
    """The first words of each item's text stand in for its ID; training histories as item numbers."""
    items = pq.read_table(folder / "items_clean.parquet", columns=["item_id", "text"]).to_pydict()
    number = {item: place for place, item in enumerate(items["item_id"])}
    histories = pq.read_table(folder / "histories.parquet", columns=["history"])["history"].to_pylist()
    packed = Ragged.of([[number[item] for item in history] for history in histories if history])
    words = [" ".join(normalise(text).split()[1:7]) or "item" for text in items["text"]]
    return words, (packed.offsets, packed.values.astype(np.int64))


def _made_up() -> tuple[list[str], tuple[Ints, Ints]]:
    """Five thousand items of four made-up words, two thousand users with 2 to 30 of them (9 on average)."""
    random = np.random.default_rng(17)
    words = ["".join(random.choice(list("abcdefghij"), size=6)) for _ in range(2000)]
    said = [" ".join(random.choice(words, size=4)) for _ in range(5000)]
    lengths = np.minimum(random.geometric(1 / 8, size=2000) + 1, 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return said, (offsets, random.integers(len(said), size=int(offsets[-1])))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder with items_clean.parquet and histories.parquet")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--causal-size", help="size of the decoder-only model, if another: layers=4 for tiny's 2 + 2")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--targets", type=int, default=64, help="targets of a step, about")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
