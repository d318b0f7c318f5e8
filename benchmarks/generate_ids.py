"""Writing IDs in batches against one item at a time with the same beams (the released way).

    python -m benchmarks.generate_ids                       # tiny model, 192 items, under a minute on two cores
    python -m benchmarks.generate_ids --size small --items 2000 --batch-items 256 --device cuda

Prints one JSON line. Both ways search with the same model, the same groups of beams and the same penalty. Weights are
random and the end of an ID is as likely as it is by chance: what a step costs does not depend on what the model knows.
Item texts are Beauty titles where the real data lies beside the checkout, else made up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.machine import facts
from components.params import Index
from components.textid.backbone import build
from components.textid.candidates import allowed_tokens
from components.textid.diverse import propose
from components.textid.tokenizer import encode_texts, train_tokenizer
from components.textid.writer import write_ids

BEAUTY = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-beauty"
MAX_ITEM_TOKENS = 64


def main() -> None:
    """Parse the arguments, measure both ways, print one JSON line."""
    arguments = _arguments()
    texts, source = _texts(arguments.items)
    item_ids = [f"i{number:07d}" for number in range(len(texts))]
    tokenizer = train_tokenizer(texts, vocabulary_size=arguments.vocabulary_size)
    model = build("scratch", size=arguments.size, vocabulary_size=len(tokenizer), seed=17).to(arguments.device)
    settings = Index(batch_items=arguments.batch_items, retries=0)  # every item is asked once, as one at a time

    _one_by_one(model, tokenizer, texts[:2], settings)  # warm up
    started = time.perf_counter()
    singles = _one_by_one(model, tokenizer, texts[: arguments.single_items], settings)
    single_seconds = time.perf_counter() - started

    write_ids(model, tokenizer, item_ids[:64], texts[:64], settings, max_item_tokens=MAX_ITEM_TOKENS)  # warm up
    started = time.perf_counter()
    table, report = write_ids(model, tokenizer, item_ids, texts, settings, max_item_tokens=MAX_ITEM_TOKENS)
    seconds = time.perf_counter() - started

    batched_rate, single_rate = len(table) / seconds, singles / single_seconds
    print(
        json.dumps(
            {
                "benchmark": "generate_ids",
                "ratio": round(batched_rate / single_rate, 2),
                "items_per_s_batched": round(batched_rate, 2),
                "items_per_s_one_by_one": round(single_rate, 2),
                "unique": len(set(table.words)) == len(set(table.token_ids)) == len(item_ids),
                "items": len(table),
                "items_one_by_one": singles,
                "attempts": report["attempts"],
                "last_resort": report["last_resort"],
                "first_choice_share": report["first_choice_share"],
                "candidates": settings.candidates,
                "groups": settings.groups,
                "max_tokens": settings.max_tokens,
                "batch_items": settings.batch_items,
                "size": arguments.size,
                "vocabulary": len(tokenizer),
                "texts": source,
                "device": torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "cpu",
                **facts(),
            }
        )
    )


def _one_by_one(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], settings: Index) -> int:
    """The released way: a batch of one item, no padding; only the first proposals, nothing asked again."""
    allowed = allowed_tokens(tokenizer)
    for row in encode_texts(tokenizer, texts, max_tokens=MAX_ITEM_TOKENS):
        ids = torch.tensor([row], device=model.device)
        tokens, _ = propose(
            model,
            ids,
            torch.ones_like(ids),
            candidates=settings.candidates,
            groups=settings.groups,
            diversity_penalty=settings.diversity_penalty,
            max_tokens=settings.max_tokens,
            eos_id=1,
            pad_id=0,
            allowed=allowed,
        )
        tokens.tolist()  # waits for the device
    return len(texts)


def _texts(count: int) -> tuple[list[str], str]:
    path = BEAUTY / "items.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            items = [json.loads(line) for line in stream]
        texts = [
            f"title: {item.get('title', '')}, brand: {item.get('brand', '')}, categories: "
            + ", ".join(name for names in item.get("categories", []) for name in names)
            for item in items
        ]
        if count <= len(texts):
            return texts[:: len(texts) // count][:count], "amazon-beauty"
    draw = random.Random(17)
    words = [
        "".join(draw.choice(("ba", "ko", "li", "ma", "ne", "ro", "su", "ti")) for _ in range(3)) for _ in range(400)
    ]
    return [
        f"title: {' '.join(draw.choices(words, k=9))}, brand: {draw.choice(words)}" for _ in range(count)
    ], "made up"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=192, help="items written in batches")
    parser.add_argument("--single-items", type=int, default=12, help="items written one at a time")
    parser.add_argument("--batch-items", type=int, default=64)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
