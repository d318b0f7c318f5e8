"""Writing IDs in batches against one item at a time with the same beams (the released way).

    python -m benchmarks.generate_ids                       # tiny model, 1,024 items, under a minute on two cores
    python -m benchmarks.generate_ids --size small --items 2000 --batch-items 256 --device cuda

Prints one JSON line. All ways have the same model, as many beams and the same threads. `ratio` is against
transformers' `generate`, one item at a time, as the released code calls it; group beam search has left the library, so
it runs without groups here, which is less work. The other ways run our own search, one item at a time, with groups:
`ratio_library_step` over the library's forward with its cache and PyTorch's own linear layers, so without what
`generate` costs on top, and `ratio_same_step` over our own step. `equal`: both steps give an item the same candidates.
`ratio_faithful`: batches of IDs of the item's own words (`index.faithful`, the default) over batches of any words. Only
our side then makes a table of what was written. Weights are random and the end of an ID is as likely as it is by
chance: what a step costs does not depend on what the model knows. Item texts are Beauty's where the real data lies
beside the checkout, else made up; the tokenizer is trained on all there are.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.machine import facts
from components.networks.backbone import build
from components.networks.cpu import use_library_kernels
from components.networks.interface import LanguageModel
from components.networks.t5 import T5
from components.settings.params import Index
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import encode_texts, train_tokenizer
from components.textid.writing.candidates import allowed_tokens
from components.textid.writing.diverse import propose
from components.textid.writing.writer import first_length, write_ids

BEAUTY = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-beauty"
MAX_ITEM_TOKENS = 64


@dataclass
class LibraryCache:
    """What the library's forward is given at each step."""

    encoded: Tensor
    mask: Tensor
    written: EncoderDecoderCache


class LibraryStep(T5):
    """A T5 that is read and stepped by the library's forward, with its cache; its hidden states are the logits."""

    def prefill(self, prompt: Tensor, attention_mask: Tensor, *, capacity: int, rows_at_once: int = 0) -> Any:
        encoded = self.encode(prompt, attention_mask)
        return LibraryCache(encoded, attention_mask, EncoderDecoderCache(DynamicCache(), DynamicCache()))

    def step(self, cache: Any, tokens: Tensor, parents: Tensor) -> Tensor:
        items, beams, _ = tokens.shape
        if beams > 1 and len(cache.mask) == items:
            cache.written.batch_repeat_interleave(beams)
            cache.mask, cache.encoded = (part.repeat_interleave(beams, 0) for part in (cache.mask, cache.encoded))
        elif beams > 1:
            rows = torch.arange(items, device=parents.device)[:, None] * beams + parents
            # The beams of an item share its encoder states: only what was written has to follow.
            cache.written.self_attention_cache.reorder_cache(rows.flatten())
        logits: Tensor = self.module(
            encoder_outputs=BaseModelOutput(last_hidden_state=cache.encoded),
            attention_mask=cache.mask,
            decoder_input_ids=tokens.flatten(0, 1),
            past_key_values=cache.written,
            use_cache=True,
        ).logits
        return logits.view(items, beams, 1, -1)

    def step_logits(self, tokens: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        return lambda logits: logits if tokens is None else logits[:, tokens]


@dataclass
class Alone:
    """Candidates of one item at a time, as the writer would ask for them first."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: Index

    def __post_init__(self) -> None:
        self.allowed = allowed_tokens(self.tokenizer)

    def ask(self, texts: list[str], step: type[T5] = T5) -> list[Tensor]:
        """Token ids [candidates, tokens] of each text, on the CPU: reading them waits for the device."""
        rows = encode_texts(self.tokenizer, texts, max_tokens=MAX_ITEM_TOKENS)
        model = step(self.model, end_token=1)
        return [self._propose(model, torch.tensor([row], device=self.model.device)) for row in rows]

    @torch.no_grad()
    def generate(self, texts: list[str]) -> list[Tensor]:
        """The same shape by the library's own beam search, without groups."""
        beams = self.settings.candidates
        how = {"num_beams": beams, "num_return_sequences": beams, "max_new_tokens": first_length(self.settings)}
        rows = encode_texts(self.tokenizer, texts, max_tokens=MAX_ITEM_TOKENS)
        model: Any = self.model
        return [model.generate(torch.tensor([row], device=self.model.device), **how).cpu() for row in rows]

    def _propose(self, model: LanguageModel, ids: Tensor) -> Tensor:
        tokens, _ = propose(
            model,
            ids,
            torch.ones_like(ids),
            candidates=self.settings.candidates,
            groups=self.settings.groups,
            diversity_penalty=self.settings.diversity_penalty,
            max_tokens=first_length(self.settings),
            pad_id=0,
            allowed=self.allowed,
        )
        return tokens[0].cpu()


def main() -> None:
    """Parse the arguments, measure all ways, print one JSON line."""
    arguments = _arguments()
    catalogue, source = item_texts(arguments.items)
    texts = catalogue[:: len(catalogue) // arguments.items][: arguments.items]
    item_ids = [f"i{number:07d}" for number in range(len(texts))]
    tokenizer = train_tokenizer(catalogue, vocabulary_size=arguments.vocabulary_size)
    model = build("scratch", size=arguments.size, vocabulary_size=len(tokenizer), seed=17).to(arguments.device)
    settings = Index(batch_items=arguments.batch_items, retries=0)  # every item is asked once, as one at a time
    few, alone = texts[: arguments.single_items], Alone(model, tokenizer, settings)
    released = Alone(use_library_kernels(copy.deepcopy(model)), tokenizer, settings)

    def batched(settings: Index) -> tuple[IdTable, dict[str, Any]]:
        return write_ids(model, tokenizer, item_ids, texts, settings, max_item_tokens=MAX_ITEM_TOKENS)

    table, report = batched(settings)
    own, library = alone.ask(few), released.ask(few, LibraryStep)
    rates = _rates(
        {
            "batched": (len(texts), lambda: batched(settings)),
            "any_words": (len(texts), lambda: batched(replace(settings, faithful=False))),
            "generate": (len(few), lambda: released.generate(few)),
            "library_step": (len(few), lambda: released.ask(few, LibraryStep)),
            "same_step": (len(few), lambda: alone.ask(few)),
        },
        arguments.repeats,
    )
    print(
        json.dumps(
            {
                "benchmark": "generate_ids",
                "ratio": round(rates["batched"] / rates["generate"], 2),
                "ratio_library_step": round(rates["batched"] / rates["library_step"], 2),
                "ratio_same_step": round(rates["batched"] / rates["same_step"], 2),
                "ratio_faithful": round(rates["batched"] / rates["any_words"], 2),
                **{f"items_per_s_{name}": round(rate, 2) for name, rate in rates.items()},
                "equal": all(torch.equal(left, right) for left, right in zip(own, library, strict=True)),
                "unique": len(set(table.words)) == len(set(table.token_ids)) == len(item_ids),
                "items": len(table),
                "items_one_by_one": len(few),
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


def _rates(ways: dict[str, tuple[int, Callable[[], Any]]], repeats: int) -> dict[str, float]:
    """Items a second of each way, the best of some runs in turn: other work on the machine comes and goes."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, (_, way) in ways.items():
            started = time.perf_counter()
            way()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return {name: items / seconds[name] for name, (items, _) in ways.items()}


def item_texts(least: int) -> tuple[list[str], str]:
    """A catalogue of at least so many item texts, and where it is from."""
    path = BEAUTY / "items.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            items = [json.loads(line) for line in stream]
        if least <= len(items):
            return [
                f"title: {item.get('title', '')}, brand: {item.get('brand', '')}, categories: "
                + ", ".join(name for names in item.get("categories", []) for name in names)
                for item in items
            ], "amazon-beauty"
    draw = random.Random(17)
    syllables = ("ba", "ko", "li", "ma", "ne", "ro", "su", "ti")
    words = ["".join(draw.choice(syllables) for _ in range(3)) for _ in range(400)]
    return [
        f"title: {' '.join(draw.choices(words, k=9))}, brand: {draw.choice(words)}" for _ in range(max(least, 2000))
    ], "made up"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1024, help="items written in batches")
    parser.add_argument("--single-items", type=int, default=16, help="items written one at a time")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, of which the best counts")
    parser.add_argument("--batch-items", type=int, default=Index().batch_items)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
