"""What each CPU kernel (`components/networks/cpu/`) saves of a training step, a decoding and the writing of IDs.

    OMP_NUM_THREADS=1 python -m benchmarks.kernels             # params/amazon-beauty.yaml in float32, some ten minutes
    OMP_NUM_THREADS=1 python -m benchmarks.kernels --precision bf16 --work recommender_step cold_start_step
    OMP_NUM_THREADS=1 python -m benchmarks.kernels --quick     # sizes of a test, seconds; no figures

Prints one JSON line. `ratio_WORK_KERNEL` is the CPU time of a piece of work without that kernel over the time with all
of them: the median of pairs that follow one another (with, without), on the same batches. 1.11 and more means that the
kernel saves a tenth. `spread_WORK_KERNEL` are the quartiles of the pairs. `ratio_WORK_same` compares with itself: what
two equal sides differ by on this machine. `all`: without any. The pieces of work, in the sizes of the preset:

- `recommender_step`: batch, loss, gradient, clipping and AdamW of 48 histories;
- `encoder_decoder_step`: the same of a T5 of that size (`train.family: encoder-decoder`, the default);
- `generator_step`: the same of a step of the generator phase (16 users; the preset has one round, so none of them);
- `cold_start_step`: the same of 32 item texts;
- `decoding`: 64 users, 20 beams, `trie` scores, in float32; `decoding_vocabulary`: `vocabulary` scores;
  `encoder_decoder_decoding`: by the T5;
- `writing_ids`: the IDs of 64 items, asked for once, in float32.

What stands in a kernel's place is what one would write with the library. `linear`: torch's own (MKL), measured also on
processors that do not take oneDNN by themselves; `dropout`: torch's; `log_sum_exp`: `logsumexp` of
whole rows; `exp2`: exponentials to the base e; `rows_at_once`: all prompts of a group at once, not eight of them.
Weights are random: what a step costs does not depend on what a model knows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.decode import synthetic
from benchmarks.machine import facts
from components.networks.backbone import build
from components.networks.cpu import dropout_bits, normaliser, onednn
from components.networks.families import language_model
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.prompts.phrasings import prompts_of
from components.settings.decoding import Decoding, Scores
from components.settings.file import load
from components.settings.params import Params
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import train_tokenizer
from components.textid.writing.writer import write_ids
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.packed.dataset import Dataset
from components.training.packed.joint import Shop
from components.training.phases.cold_start import ColdStart
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.steps.loop import Optimisation

ROOT = Path(__file__).resolve().parents[1]
BEAUTY = ROOT.parent / "shared" / "data" / "amazon-beauty"
HOW = Optimisation(seed=17, weight_decay=0.01, grad_clip=1.0, warmup_share=0.05)
USERS, ITEMS, BATCHES = 64, 64, 1
"""Users of a decoding, items of a writing, batches of a training's piece of work."""
Work = Callable[[], Any]
Without = Callable[[], AbstractContextManager[Any]]
"""Makes a context in which models do without a kernel."""


def main() -> None:
    """Time every piece of work with and without each kernel, in turn, print one JSON line."""
    arguments = _arguments()
    preset = load(ROOT / "params" / "amazon-beauty.yaml")
    if arguments.quick:
        size = "d_model=32,layers=1,heads=2,d_ff=32"
        preset = replace(preset, train=replace(preset.train, size=size, vocabulary_size=600))
    torch.manual_seed(17)
    with TemporaryDirectory() as folder:
        works, sizes = _works(preset, arguments, Path(folder))
        figures: dict[str, Any] = {}
        for work, (do, kernels) in works.items():
            if work in arguments.work:
                kernels = [kernel for kernel in kernels if kernel in arguments.kernel]
                figures |= _measured(work, do, kernels, 1 if arguments.quick else arguments.repeats)
    settings = {name: value for name, value in vars(arguments).items() if name not in ("work", "kernel")}
    print(json.dumps({"benchmark": "kernels", **figures, **sizes, "settings": settings, **facts()}))


def _measured(work: str, do: Work, kernels: list[str], repeats: int) -> dict[str, Any]:
    """Ratio and spread of each kernel for a piece of work, and the seconds that it takes with all of them."""
    ways = {name: KERNELS[name] for name in kernels}
    ways |= {"all": partial(_without_any, kernels), "same": partial(_without_any, [])}
    pairs: dict[str, list[float]] = {name: [] for name in ways}
    seconds = []
    for repeat in range(-1, repeats):  # the first pays for shapes that are met for the first time
        for name, without in ways.items():
            with _FORCED[name] if name in _FORCED else nullcontext():
                own = _seconds(do)
            with without():
                other = _seconds(do)
            if repeat >= 0:
                pairs[name].append(other / own)
                seconds.append(own)
    figures: dict[str, Any] = {f"seconds_{work}": round(statistics.median(seconds), 4)}
    for name, ratios in pairs.items():
        figures[f"ratio_{work}_{name}"] = round(statistics.median(ratios), 3)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        figures[f"spread_{work}_{name}"] = [round(low, 3), round(high, 3)]
    return figures


def _seconds(do: Work) -> float:
    """CPU seconds of this thread, which does all the work: other programs on the machine hardly count."""
    started = time.thread_time()
    do()
    return time.thread_time() - started


def _patched(*changes: tuple[str, Any]) -> Without:
    def without() -> ExitStack:
        stack = ExitStack()
        for name, value in changes:
            stack.enter_context(patch(name, value))
        return stack

    return without


@contextmanager
def _without_any(kernels: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name in kernels:
            stack.enter_context(KERNELS[name]())
        yield


def _log_sum_exp(hidden: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return onednn.linear(hidden, weight).logsumexp(1)


def _shifted(hidden: Tensor, weight: Tensor) -> Tensor:
    return normaliser._shifted(hidden, weight, normaliser._CELLS_CPU)


_CPU, _MODEL = "components.networks.cpu", "components.networks.interface"
_LOSS = "components.recommender.loss.output_loss"
KERNELS: dict[str, Without] = {
    "linear": _patched((f"{_CPU}.onednn._FASTER", False)),
    "dropout": _patched(
        (f"{_CPU}.dropout_bits.dropout", functional.dropout),
        ("components.networks.scratch.drop_out", functional.dropout),
    ),
    "log_sum_exp": _patched((f"{_MODEL}.log_sum_exp", _log_sum_exp)),
    "exp2": _patched(
        (f"{_MODEL}.log_sum_exp", _shifted),
        (f"{_LOSS}._is_fused", lambda _: True),
    ),
    "rows_at_once": _patched(("components.recommender.search.trie_search._ROWS_AT_ONCE", 0)),
}
"""Name -> the library's way."""
_FORCED = {"linear": patch(f"{_CPU}.onednn._FASTER", True)}
"""Kernels that a processor may not take by itself, but is measured with."""
assert dropout_bits  # patched by name


def _works(
    preset: Params, arguments: argparse.Namespace, folder: Path
) -> tuple[dict[str, tuple[Work, list[str]]], dict[str, Any]]:
    """Each piece of work with the kernels that it can use, and the sizes of it all."""
    context, table = _context(preset, arguments, folder)
    family, size, vocabulary = preset.train.family, preset.train.size, len(context.tokenizer)
    network = build(
        "scratch", family=family, size=size, vocabulary_size=vocabulary, dropout=preset.train.dropout, seed=1
    )
    generator: Any = build("scratch", size=size, vocabulary_size=vocabulary, dropout=0.0, seed=2)
    recommender = language_model(network, end_token=context.end_token)
    other = _encoder_decoder(context)
    t5: Any = build("scratch", size=size, vocabulary_size=vocabulary, dropout=preset.train.dropout, seed=3)
    both = language_model(t5, end_token=context.end_token)
    users = range(8 if arguments.quick else USERS)
    histories = [[table.item_ids[item] for item in context.data.histories.row(user)] for user in users]
    items = np.linspace(0, len(table) - 1, 8 if arguments.quick else ITEMS).astype(int)
    ids, texts = ([column[item] for item in items] for column in (table.item_ids, context.data.texts))

    def decoding(model: Any, where: Context, scores: Scores) -> Work:
        most, how = preset.train.max_history, replace(Decoding.of(vars(preset.evaluate)), scores=scores)
        engine = Engine(model, where.pieces, Catalogue(table), max_history=most, device=torch.device("cpu"))

        def decode() -> None:
            model.module.eval()
            engine.recommend(histories, 10, how)

        return decode

    def write() -> None:
        asked = replace(preset.index, retries=0)
        write_ids(generator, context.tokenizer, ids, texts, asked, max_item_tokens=preset.train.max_item_tokens)

    first = [tuple(tokens) for tokens in table.token_ids]
    phases: dict[str, Any] = {
        "recommender_step": RecommenderPhase(context, recommender, table, round=1, after=lambda *_: False),
        "encoder_decoder_step": RecommenderPhase(other, both, table, round=1, after=lambda *_: False),
        "generator_step": GeneratorPhase(context, generator, recommender, table, round=2),
        "cold_start_step": ColdStart(context, generator, first),
    }
    works: dict[str, tuple[Work, list[str]]] = {
        name: (_steps(phase, preset.train.recommender.grad_clip), ["linear", "exp2"]) for name, phase in phases.items()
    }
    for name in ("recommender_step", "encoder_decoder_step"):
        works[name][1].append("dropout")
    works["decoding"] = decoding(recommender, context, "trie"), ["linear", "rows_at_once"]
    works["decoding_vocabulary"] = decoding(recommender, context, "vocabulary"), ["linear", "log_sum_exp", "exp2"]
    works["encoder_decoder_decoding"] = decoding(both, other, "trie"), ["linear", "rows_at_once"]
    works["writing_ids"] = write, ["linear"]
    sizes = {
        "data": "amazon-beauty" if _real(arguments) else "synthetic",
        "items": len(table),
        "vocabulary": len(context.tokenizer),
        "users_decoded": len(histories),
        "items_written": len(ids),
        "batches": BATCHES,
        **{name: getattr(preset.train, name) for name in ("family", "size", "dropout", "max_history")},
        "batch_size": preset.train.recommender.batch_size,
        "beams": preset.evaluate.beams,
    }
    return works, sizes


def _steps(phase: Any, clip: float) -> Work:
    """A few whole training steps on the same batches, at a rate of 0: no step changes what the next one costs."""
    optimizer: Any = None
    batches = phase.batches(0)
    chosen = [batches[at] for at in np.linspace(0, len(batches) - 1, BATCHES + 2).astype(int)[1:-1]]

    def steps() -> None:
        nonlocal optimizer
        frozen = phase.recommender.module if phase.name == "generator" else phase.module
        frozen.requires_grad_(phase.name != "generator")
        optimizer = optimizer or HOW.adamw(phase.module)
        for rows in chosen:
            optimizer.zero_grad(set_to_none=True)
            total, count = phase.loss(rows)
            (total / count).backward()
            torch.nn.utils.clip_grad_norm_(phase.module.parameters(), clip)
            optimizer.step()

    return steps


def _context(preset: Params, arguments: argparse.Namespace, folder: Path) -> tuple[Context, IdTable]:
    """Beauty's items, histories and reference IDs, packed as a training has them; made up where they are not there."""
    texts, words, bought = _beauty() if _real(arguments) else _made_up()
    prompts = prompts_of(preset.train.family).texts()
    tokenizer = train_tokenizer([*texts, *words, *prompts], vocabulary_size=preset.train.vocabulary_size)
    item_ids: Any = tuple(f"i{number:06d}" for number in range(len(words)))
    table = IdTable.from_words(tokenizer, dict(zip(item_ids, words, strict=True)))
    nothing = Ragged(np.zeros(1, np.int64), np.zeros(0, np.int32))
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in bought])]).astype(np.int64)
    data = Dataset(
        item_ids=item_ids,
        texts=tuple(texts),  # type: ignore[arg-type]
        histories=Ragged(offsets, np.concatenate(bought).astype(np.int32)),
        users=np.zeros(0, np.uint64),
        valid_users=(),  # type: ignore[arg-type]
        valid_rows=np.zeros(0, np.int64),
        valid_contexts=nothing,
        valid_targets=np.zeros(0, np.int32),
        shops=(Shop("", 0, len(item_ids)),),
        valid_marks=np.zeros(0, np.uint64),
        prolonged=None,
    )
    settings = replace(preset.train, precision=arguments.precision)
    job = Job(folder, folder, folder, folder, folder, settings, preset.index, 17, "kernels")
    return Context.build(job, data, tokenizer, Ranks(device=torch.device("cpu"))), table


def _encoder_decoder(context: Context) -> Context:
    """The same data and tokenizer for a recommender of the other family, which reads other prompts."""
    prompts = prompts_of("encoder-decoder")
    job = replace(context.job, train=replace(context.job.train, family="encoder-decoder"))
    return replace(context, job=job, prompts=prompts, pieces=prompts.tokenise(context.tokenizer))


def _real(arguments: argparse.Namespace) -> bool:
    return BEAUTY.is_dir() and not arguments.quick


def _beauty() -> tuple[list[str], list[str], list[list[int]]]:
    """Item texts, IDs as words, and histories without their last two items, as item numbers."""
    with gzip.open(BEAUTY / "reference_ids.tsv.gz", "rt", encoding="utf-8") as stream:
        words = {item: normalise(text) for item, text in (line.rstrip("\n").split("\t") for line in list(stream)[1:])}
    with gzip.open(BEAUTY / "items.jsonl.gz", "rt", encoding="utf-8") as stream:
        items = {item["item_id"]: item for item in map(json.loads, stream)}
    first = {text: item for item, text in sorted(words.items(), reverse=True) if text and item in items}
    kept = sorted(first.values())
    texts = []
    for item in (items[item] for item in kept):
        categories = ", ".join(name for names in item.get("categories", []) for name in names)
        texts.append(f"title: {item.get('title', '')}, brand: {item.get('brand', '')}, categories: {categories}")
    numbers = {item: number for number, item in enumerate(kept)}
    histories: dict[str, list[int]] = {}
    with gzip.open(BEAUTY / "interactions.tsv.gz", "rt", encoding="utf-8") as stream:
        for user, item in (line.split("\t")[:2] for line in list(stream)[1:]):
            if item in numbers:
                histories.setdefault(user, []).append(numbers[item])
    return texts, [words[item] for item in kept], [history[:-2] for history in histories.values() if len(history) > 3]


def _made_up() -> tuple[list[str], list[str], list[list[int]]]:
    words, histories = synthetic(300, 200)
    return [f"title: {text} {text[::-1]}" for text in words], words, histories


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = [f"{phase}_step" for phase in ("recommender", "encoder_decoder", "generator", "cold_start")]
    every = [*steps, "decoding", "decoding_vocabulary", "encoder_decoder_decoding", "writing_ids"]
    parser.add_argument("--work", nargs="+", choices=every, default=every)
    parser.add_argument("--kernel", nargs="+", choices=list(KERNELS), default=list(KERNELS))
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="of the training steps")
    parser.add_argument("--repeats", type=int, default=7, help="pairs for each kernel")
    parser.add_argument("--quick", action="store_true", help="a tiny made-up catalogue: that it runs, not what it says")
    return parser.parse_args()


if __name__ == "__main__":
    main()
