"""The loss of the output layer in blocks, forward and backward, against all logits at once and against torch's blocks.

    python -m benchmarks.output_loss                        # a step of params/amazon-beauty.yaml, half a minute
    python -m benchmarks.output_loss --tokens 16384 --width 512 --vocabulary-size 32128 --device cuda

Prints one JSON line. `ratio` is against `cross_entropy(linear(...))`, as any model of the library has it, with our
oneDNN products in float32; `ratio_torch_blocks` against torch's `linear_cross_entropy` with its own choice of blocks
(null where torch has none). `relative_gradient_difference` is that to all logits at once. `ratio_trie`: how much less
the loss over the trie (`loss/trie_loss.py`) takes for as many tokens than that in blocks; it is another loss. Its
choices are drawn as Beauty's IDs have them: of 5.9 tokens one is chosen among 2,091 and 1.9 among some twelve.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import facts
from components.networks.cpu import linear
from components.recommender.loss.output_loss import output_loss
from components.recommender.loss.trie_loss import trie_loss
from components.recommender.trie.choices import Choices, blocks_of


def main() -> None:
    """Time all ways in turn, print one JSON line."""
    arguments = _arguments()
    torch.manual_seed(17)
    device = torch.device(arguments.device)
    shapes = (arguments.tokens, arguments.width), (arguments.vocabulary_size, arguments.width)
    hidden, weight = (torch.randn(shape, device=device, requires_grad=True) for shape in shapes)
    labels = torch.randint(arguments.vocabulary_size, (arguments.tokens,), device=device)
    ways = _ways(hidden, weight, labels)
    seconds = dict.fromkeys(ways, float("inf"))
    gradients: dict[str, Tensor] = {}
    for _ in range(arguments.repeats):
        for name, loss in ways.items():
            hidden.grad = weight.grad = None
            started = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=arguments.precision == "bf16"):
                total = loss()
            total.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            assert hidden.grad is not None and weight.grad is not None
            gradients[name] = torch.cat([hidden.grad.flatten(), weight.grad.flatten()])
    apart = (gradients["blocks"] - gradients["whole"]).norm() / gradients["whole"].norm()
    print(
        json.dumps(
            {
                "benchmark": "output_loss",
                "ratio": round(seconds["whole"] / seconds["blocks"], 2),
                "ratio_torch_blocks": round(seconds["torch_blocks"] / seconds["blocks"], 2)
                if "torch_blocks" in ways
                else None,
                "ratio_trie": round(seconds["blocks"] / seconds["trie"], 2),
                **{f"milliseconds_{name}": round(1000 * value, 1) for name, value in seconds.items()},
                "relative_gradient_difference": float(apart),
                "settings": vars(arguments),
                **facts(),
            }
        )
    )


def _ways(hidden: Tensor, weight: Tensor, labels: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Every way to the loss."""

    def whole() -> Tensor:
        return functional.cross_entropy(linear(hidden, weight).float(), labels, reduction="sum")

    def torch_blocks() -> Tensor:
        options = torch.nn.LinearCrossEntropyOptions()
        total: Tensor = functional.linear_cross_entropy(hidden, weight, labels, reduction="sum", options=options)
        return total

    choices = _choices(len(labels), len(weight)).to(hidden.device)
    ways = {
        "blocks": lambda: output_loss(hidden, weight, labels, count=len(labels)),
        "whole": whole,
        "trie": lambda: trie_loss(hidden[None], weight, choices),
    }
    return ways | ({"torch_blocks": torch_blocks} if hasattr(functional, "linear_cross_entropy") else {})


def _choices(tokens: int, vocabulary_size: int) -> Choices:
    """The choices of IDs of `tokens` tokens in all, drawn like those of Beauty."""
    random = np.random.default_rng(17)
    ids, opening = round(tokens / 5.9), min(2091, vocabulary_size)
    later = np.sort(random.choice(tokens, size=round(1.87 * ids), replace=False))
    counts = 2 + random.geometric(0.1, size=len(later))
    owners = np.repeat(np.arange(len(later)), counts)
    ends = np.cumsum(counts)
    return Choices(
        opening=torch.from_numpy(random.choice(vocabulary_size, size=opening, replace=False)),
        first=torch.from_numpy(np.sort(random.choice(tokens, size=ids, replace=False))),
        first_labels=torch.from_numpy(random.integers(opening, size=ids)),
        later=torch.from_numpy(later),
        options=torch.from_numpy(random.integers(vocabulary_size, size=len(owners))),
        owners=torch.from_numpy(owners),
        chosen=torch.from_numpy(ends - 1 - random.integers(counts)),
        blocks=blocks_of(ends),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2944)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--vocabulary-size", type=int, default=8192)
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--repeats", type=int, default=8, help="runs of each way, of which the best counts")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
