"""One step of the generator phase against decoding with gradient, in the middle of a phase.

    python -m benchmarks.generator_step                      # tiny model, about a minute on two cores
    python -m benchmarks.generator_step --size small --device cuda

Prints one JSON line. A step is the recommender's loss on a batch of users and its gradient in the generator, without
the optimizer, which is the same for all. Every way does the same batches with the same weights, in turn, and the
gradients are compared (`max_gradient_difference`). The ways beside ours, from what is published to what is fair:

- `ratio`: as the released IDGenRec decodes (its DistributedRunner_gen.py): Hugging Face's `generate` with the gradient
  left on, greedy, with its cache; every place of every history a row, padded to the longest history of the batch and
  the longest text. Kinder than the original, which also mixes the distributions of all the padding.
- `ratio_careful`: the same by somebody who takes each item of the batch once, and no padding places.
- `ratio_uncached`: as `ratio`, a full decoder forward at every step.
- `ratio_plain_layers`: as `ratio`, ours with the library's layers (`use_library_kernels`).

The catalogue is drawn like Amazon Beauty: 12,101 items, its lengths of texts and histories, its popularity.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import facts
from components.networks.backbone import build
from components.networks.cpu import use_library_kernels
from components.networks.families import seq2seq_model
from components.networks.t5 import T5
from components.recommender.batches.samples import Rows
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import Prompts
from components.settings.params import Index
from components.settings.train import GeneratorTraining, Train
from components.storage.ragged import Ragged
from components.textid.words.tokenizer import train_tokenizer
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.packed.dataset import Dataset
from components.training.packed.joint import Shop
from components.training.phases.cold_start import ColdStart, first_ids
from components.training.phases.generator import GeneratorPhase
from components.training.phases.soft import SoftIds, write_soft
from components.training.steps.loop import Optimisation

HOW = Optimisation(seed=17, weight_decay=0.01, grad_clip=1.0, warmup_share=0.05)
NEWEST = 5
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
TEXT_TOKENS = (7, 18, 21, 24, 28, 34, 64)
"""Of Beauty's item texts (title, brand, categories) with 4,096 words, at SHARES of the items; at most 64 are read."""
HISTORY_ITEMS = (3, 3, 3, 4, 7, 12, 40)
"""Of Beauty's training histories, at SHARES of the users; the longest per cent cut."""


def main() -> None:
    """Teach a generator to write, walk into a phase, time all ways on the next batches, print one JSON line."""
    arguments = _arguments()
    context = _context(arguments)
    shape = {"size": arguments.size, "vocabulary_size": len(context.tokenizer), "dropout": 0.0}
    models: list[Any] = [build("scratch", **shape, seed=seed).to(arguments.device) for seed in (1, 2)]
    _cold_start(context, models[0], arguments.cold_start)
    phase, other = _phase(context, *models), _phase(context, *map(use_library_kernels, copy.deepcopy(models)))
    batches, optimizer = list(phase.batches(0)), HOW.adamw(phase.module)
    for rows in batches[: arguments.steps]:
        _gradient(phase, _ways(phase, other, rows)["ours"][1], arguments.device)
        _move(optimizer)
    seconds: dict[str, float] = {}
    differences, largest, words = [], [], []
    for rows in batches[arguments.steps :][: arguments.repeats]:
        other.module.load_state_dict(phase.module.state_dict())
        gradients = {}
        for name, (own, loss) in _ways(phase, other, rows).items():
            taken = _gradient(own, loss, arguments.device)
            seconds[name] = seconds.get(name, 0.0) + taken / arguments.repeats
            gradients[name] = torch.cat([p.grad.flatten() for p in own.module.parameters() if p.grad is not None])
        reference = gradients["released"]
        differences += [float((gradient - reference).abs().max()) for gradient in gradients.values()]
        largest.append(float(reference.abs().max()))
        words.append(_words(phase, rows))
        _move(optimizer)
    ratios = {
        "ratio": seconds["released"] / seconds["ours"],
        "ratio_careful": seconds["careful"] / seconds["ours"],
        "ratio_uncached": seconds["uncached"] / seconds["ours"],
        "ratio_plain_layers": seconds["released"] / seconds["plain_layers"],
    }
    print(
        json.dumps(
            {
                "benchmark": "generator_step",
                **{name: round(value, 2) for name, value in ratios.items()},
                **{f"seconds_{name}": round(value, 4) for name, value in seconds.items()},
                "max_gradient_difference": max(differences),
                "max_gradient": max(largest),
                "words_per_id": round(float(np.mean(words)), 1),
                "settings": vars(arguments),
                **facts(),
            }
        )
    )


Way = tuple[GeneratorPhase, Callable[[], Tensor]]


def _ways(phase: GeneratorPhase, other: GeneratorPhase, rows: Rows) -> dict[str, Way]:
    """Every way to the loss of a batch. Ours comes first: it pays for shapes that are met the first time."""

    def decoded(**how: bool) -> Way:
        return other, lambda: _decoded_with_gradient(other, rows, **how)

    return {
        "ours": (phase, lambda: phase.loss(rows)[0]),
        "plain_layers": (other, lambda: other.loss(rows)[0]),
        "released": decoded(padded=True, cached=True),
        "careful": decoded(padded=False, cached=True),
        "uncached": decoded(padded=True, cached=False),
    }


@torch.no_grad()
def _words(phase: GeneratorPhase, rows: Rows) -> float:
    """Mean tokens of the IDs that the generator writes for the items of a batch."""
    items = np.unique(np.concatenate([history[-NEWEST:] for history in phase.histories(rows)]))
    context = phase.context
    texts = [context.texts.tensors(items, context.ranks.device)]
    generator = seq2seq_model(phase.module, end_token=context.end_token)
    soft = write_soft(generator, texts, max_tokens=context.job.index.max_tokens, never=phase.never)
    return float(soft.lengths.double().mean())


def _decoded_with_gradient(phase: GeneratorPhase, rows: Rows, *, padded: bool, cached: bool) -> Tensor:
    """The loss over soft IDs that `generate` wrote with its gradient left on."""
    context, generator = phase.context, phase.module
    histories = phase.histories(rows)
    newest = [history[-NEWEST:] for history in histories]
    if padded:
        longest = max(map(len, newest))
        places = np.concatenate([np.pad(row, (0, longest - len(row)), constant_values=-1) for row in newest])
    else:
        places = np.unique(np.concatenate(newest))
    texts, mask = context.texts.tensors(np.maximum(places, 0), context.ranks.device)
    width = int(mask[torch.from_numpy(places >= 0)].sum(1).max())
    mask = mask[:, :width] * torch.from_numpy(places >= 0)[:, None].to(mask)
    kind: Any = type(generator)
    output = inspect.unwrap(kind.generate)(
        generator,
        input_ids=texts[:, :width] * mask,
        attention_mask=mask,
        max_new_tokens=context.job.index.max_tokens,
        min_new_tokens=1,
        num_beams=1,
        do_sample=False,
        suppress_tokens=list(phase.never),
        use_cache=cached,
        return_dict_in_generate=True,
        output_logits=True,
    )
    tokens = output.sequences[:, 1:]
    read = (tokens == context.end_token).long().cumsum(1) == 0
    soft = SoftIds(tokens.cpu(), read.sum(1).cpu(), torch.stack(output.logits, 1)[read].softmax(-1))
    number = {int(item): place for place, item in enumerate(places)}
    batch, embeddings = phase.spliced(rows, histories, soft, number)
    return batch_loss(phase.recommender, batch, embeddings=embeddings).total


def _gradient(phase: GeneratorPhase, loss: Callable[[], Tensor], device: str) -> float:
    """Seconds of a loss and its gradient, which stays in the generator."""
    phase.module.zero_grad(set_to_none=True)
    started = time.perf_counter()
    loss().backward()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _move(optimizer: torch.optim.Optimizer) -> None:
    """A step at the generator phase's default rate."""
    optimizer.param_groups[0]["lr"] = GeneratorTraining().lr
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], HOW.grad_clip)
    optimizer.step()


def _phase(context: Context, generator: Any, frozen: Any) -> GeneratorPhase:
    table = adopt({}, context.tokenizer, context.data.item_ids, context.data.texts, max_tokens=10)[0]
    return GeneratorPhase(context, generator, T5(frozen, end_token=context.end_token), table, round=2)


def _cold_start(context: Context, generator: Any, steps: int) -> None:
    """Teach the generator to write some words and an end: an untrained one writes one word without end."""
    phase = ColdStart(context, generator, first_ids(context))
    optimizer = HOW.adamw(generator)
    optimizer.param_groups[0]["lr"] = phase.peak_lr
    for batch in phase.batches(0)[:steps]:
        optimizer.zero_grad(set_to_none=True)
        total, count = phase.loss(batch)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), HOW.grad_clip)
        optimizer.step()


def _context(arguments: argparse.Namespace) -> Context:
    """A catalogue and histories from nothing, drawn as Beauty's lie."""
    random = np.random.default_rng(17)
    words = np.array(["".join(random.choice(list("abcdefghij"), size=6)) for _ in range(3000)])
    lengths = np.interp(random.random(arguments.items), SHARES, TEXT_TOKENS).astype(int) - 1  # the end token is one
    texts = [" ".join(words[(random.random(length) ** 3 * len(words)).astype(int)]) for length in lengths]
    popularity = (np.arange(arguments.items) + 20.0) ** -0.75
    counts = np.interp(random.random(arguments.histories), SHARES, HISTORY_ITEMS).astype(int)
    bought = random.choice(arguments.items, size=int(counts.sum()), p=popularity / popularity.sum())
    histories = Ragged(np.concatenate([[0], np.cumsum(counts)]), bought)
    nothing = Ragged(np.zeros(1, np.int64), np.zeros(0, np.int32))
    items: Any = tuple(f"i{number:06d}" for number in range(arguments.items))
    data = Dataset(
        item_ids=items,
        texts=cast(Any, tuple(texts)),
        histories=histories,
        users=np.zeros(0, np.uint64),
        valid_users=cast(Any, ()),
        valid_rows=np.zeros(0, np.int64),
        valid_contexts=nothing,
        valid_targets=np.zeros(0, np.int32),
        shops=(Shop("", 0, arguments.items),),
        valid_marks=np.zeros(0, np.uint64),
        prolonged=None,
    )
    tokenizer = train_tokenizer([*texts[:4000], *Prompts().texts()], vocabulary_size=arguments.vocabulary_size)
    settings = Train(size=arguments.size, generator=GeneratorTraining(batch_size=arguments.users, max_history=NEWEST))
    here = Path()
    job = Job(here, here, here, here, Path(mkdtemp()), settings, Index(faithful=False), 17, "generator_step")
    return Context.build(job, data, tokenizer, Ranks(device=torch.device(arguments.device)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--items", type=int, default=12_101)
    parser.add_argument("--histories", type=int, default=5_000)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--cold-start", type=int, default=60, help="steps of the generator's cold start")
    parser.add_argument("--steps", type=int, default=10, help="steps of the phase before the measured ones")
    parser.add_argument("--repeats", type=int, default=4, help="steps measured")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
