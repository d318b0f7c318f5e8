"""One step of the generator phase: greedy decoding + one forward with gradient, against decoding with gradient.

    python -m benchmarks.generator_step                      # tiny model, under a minute on two cores
    python -m benchmarks.generator_step --size small --device cuda

Prints one JSON line. `ratio` is against decoding with gradient as `generate` would do it (encoder once, keys and values
cached, every step in the graph); `ratio_uncached` against a full decoder forward at every step. All three feed the same
recommender loss, and the gradients are compared: `max_gradient_difference`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.machine import facts
from components.recommender.batches import batch_of
from components.recommender.encoder_decoder import EncoderDecoder
from components.recommender.prompts import Pieces
from components.textid.backbone import build
from components.training.soft import SoftIds, choose, splice, write_soft

NEVER, END = (0, 2), 1
PIECES = Pieces(heads=(tuple(range(3, 9)),), tails=((9, 10, 11, END),), separator=(12,))


def main() -> None:
    """Build both models, time the three ways on the same batch, print one JSON line."""
    arguments = _arguments()
    shape = {"size": arguments.size, "vocabulary_size": arguments.vocabulary_size, "dropout": 0.0}
    generator: Any = build("scratch", **shape, seed=1).to(arguments.device)
    frozen: Any = build("scratch", **shape, seed=2).to(arguments.device).requires_grad_(False)
    random = torch.Generator().manual_seed(17)
    items = arguments.users * arguments.history
    texts = torch.randint(3, arguments.vocabulary_size, (items, arguments.item_tokens), generator=random)
    texts = texts.to(arguments.device)
    mask = torch.ones_like(texts)

    def step(write: Callable[[], SoftIds]) -> None:
        generator.zero_grad()
        _loss(EncoderDecoder(frozen), write(), arguments).backward()

    ways: dict[str, Callable[[], SoftIds]] = {
        "one_forward": lambda: write_soft(generator, texts, mask, max_tokens=arguments.tokens, never=NEVER),
        "cached": lambda: _with_gradient(generator, texts, mask, arguments.tokens, cached=True),
        "uncached": lambda: _with_gradient(generator, texts, mask, arguments.tokens, cached=False),
    }
    seconds, gradients = {}, {}
    for name, write in ways.items():
        seconds[name] = _time(lambda write=write: step(write), arguments.repeats, arguments.device)
        gradients[name] = torch.cat([p.grad.flatten() for p in generator.parameters() if p.grad is not None])
    reference = gradients["cached"]
    print(
        json.dumps(
            {
                "benchmark": "generator_step",
                "ratio": round(seconds["cached"] / seconds["one_forward"], 2),
                "ratio_uncached": round(seconds["uncached"] / seconds["one_forward"], 2),
                **{f"seconds_{name}": round(value, 4) for name, value in seconds.items()},
                "max_gradient_difference": float((gradients["one_forward"] - reference).abs().max()),
                "max_gradient": float(reference.abs().max()),
                "settings": vars(arguments),
                **facts(),
            }
        )
    )


def _loss(recommender: EncoderDecoder, soft: SoftIds, arguments: argparse.Namespace) -> Tensor:
    """Every user reads `history` items as soft IDs; the target's ID has `tokens` tokens."""
    words = soft.words()
    chosen = [list(range(user * arguments.history, (user + 1) * arguments.history)) for user in range(arguments.users)]
    prompts = [PIECES.build(0, [words[at] for at in row], max_tokens=512) for row in chosen]
    targets = [list(range(20, 20 + arguments.tokens))] * arguments.users
    batch = batch_of(prompts, targets, end_token=END).to(soft.tokens.device)
    return recommender.loss(
        batch, inputs_embeds=recommender.embed(batch.input_ids, splice(prompts, chosen, soft))
    ).total


def _with_gradient(generator: Any, texts: Tensor, mask: Tensor, longest: int, *, cached: bool) -> SoftIds:
    """Soft IDs by decoding with gradient, one step after the other."""
    encoded = BaseModelOutput(
        last_hidden_state=generator.get_encoder()(input_ids=texts, attention_mask=mask).last_hidden_state
    )
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if cached else None
    tokens = torch.zeros(len(texts), 1, dtype=torch.int64, device=texts.device)
    open_rows = torch.ones(len(texts), dtype=torch.bool, device=texts.device)
    steps, chosen = [], []
    for step in range(longest):
        logits = generator(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=tokens[:, -1:] if cached else tokens,
            past_key_values=cache,
            use_cache=cached,
        ).logits[:, -1]
        steps.append(logits.softmax(-1))
        choice = choose(logits.detach(), [*NEVER, END] if step == 0 else NEVER)
        chosen.append(torch.where(open_rows, choice, 0))
        open_rows = open_rows & (choice != END)
        tokens = torch.cat([tokens, choice[:, None]], 1)
    whole = torch.stack(chosen, 1)
    return SoftIds(whole, ((whole == END).long().cumsum(1) == 0).sum(1), torch.stack(steps, 1))


def _time(work: Callable[[], None], repeats: int, device: str) -> float:
    """Best of `repeats` runs after one to warm up, seconds: the best is the least disturbed."""
    best = float("inf")
    for number in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if number:
            best = min(best, time.perf_counter() - started)
    return best


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--history", type=int, default=5)
    parser.add_argument("--item-tokens", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
