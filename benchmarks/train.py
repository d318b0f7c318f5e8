"""Recommender samples/s: our recommender phase against Hugging Face's Seq2SeqTrainer with its defaults.

    python -m benchmarks.train                                # tiny model, under a minute on two cores
    python -m benchmarks.train --size small --batches 200 --device cuda

Prints one JSON line; `ratio` is ours / theirs on the same model, samples, batch size and precision. Theirs is what
anyone would write: texts of the prompts tokenised beforehand, DataCollatorForSeq2Seq (dynamic padding to the longest of
the batch), AdamW, random order, PyTorch's own linear layers. `gflops` are the model's own operations a second, padding
not counted; with `--peak-tflops` (989 for bf16 on an H100 or H200) `utilisation` is their share of the device's peak.
`where`: shares of the time of our steps by kind of work.

    python -m benchmarks.train --size small --batches 200 --device cuda --bf16 --peak-tflops 989
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from benchmarks.machine import facts
from benchmarks.utilisation import training_flops, where
from components.networks.backbone import build
from components.networks.cpu import use_library_kernels
from components.networks.t5 import T5
from components.recommender.batches.batch import IGNORED, Batch
from components.recommender.batches.samples import Rows, Samples
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.phrasings import Prompts
from components.storage.ragged import Ragged
from components.textid.words.tokenizer import train_tokenizer
from components.training.steps.loop import Optimisation


def main() -> None:
    """Make users and items, train both ways over the same samples, print one JSON line."""
    arguments = _arguments()
    random = np.random.default_rng(17)
    words = ["".join(random.choice(list("abcdefghij"), size=6)) for _ in range(2000)]
    ids = [" ".join(random.choice(words, size=4)) for _ in range(arguments.items)]
    tokenizer = train_tokenizer([*ids, *Prompts().texts()], vocabulary_size=arguments.vocabulary_size)
    tokens = [tokenizer.encode(said, add_special_tokens=False)[:10] for said in ids]
    lengths = random.geometric(1 / 8, size=arguments.batches * arguments.batch_size // 4) + 1
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, 30))]).astype(np.int64)
    items = random.integers(arguments.items, size=int(offsets[-1]))
    samples = Samples(
        Ragged(offsets, items), tokens, Prompts().tokenise(tokenizer), end_token=tokenizer.eos_token_id, max_history=20
    )
    ours, gflops, shares = _ours(samples, len(tokenizer), arguments)
    theirs = _theirs(samples, tokenizer, arguments)
    print(
        json.dumps(
            {
                "benchmark": "train",
                "ratio": round(ours / theirs, 2),
                "samples_per_s": round(ours, 1),
                "samples_per_s_trainer": round(theirs, 1),
                "gflops": round(gflops, 1),
                "utilisation": round(gflops / arguments.peak_tflops / 1e3, 3) if arguments.peak_tflops else None,
                "where": shares,
                "settings": vars(arguments),
                **facts(),
            }
        )
    )


def _model(vocabulary_size: int, arguments: argparse.Namespace) -> Any:
    return build("scratch", size=arguments.size, vocabulary_size=vocabulary_size, dropout=0.1, seed=1).to(
        arguments.device
    )


def _ours(
    samples: Samples, vocabulary_size: int, arguments: argparse.Namespace
) -> tuple[float, float, dict[str, float]]:
    """Samples/s of collating, forward, backward, clipping and optimizer, as `loop.train` does them; Gflop/s; where."""
    recommender = T5(_model(vocabulary_size, arguments), end_token=1)
    recommender.module.train()
    how = Optimisation(seed=17, weight_decay=0.01, grad_clip=1.0, warmup_share=0.05)
    optimizer = how.adamw(recommender.module)
    batches = samples.epoch(seed=17, number=0, batch_size=arguments.batch_size)[: arguments.batches + 3]

    def step(rows: Rows) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(arguments.device.split(":")[0], torch.bfloat16, enabled=arguments.bf16):
            loss = batch_loss(recommender, samples.collate(rows).to(arguments.device))
        (loss.total / loss.count).backward()
        torch.nn.utils.clip_grad_norm_(recommender.module.parameters(), 1.0)
        optimizer.step()

    for rows in batches[:3]:  # allocators and kernels are warm
        step(rows)
    _wait(arguments.device)
    started = time.perf_counter()
    for rows in batches[3:]:
        step(rows)
    _wait(arguments.device)
    seconds = time.perf_counter() - started
    flops = sum(_flops(recommender.module.config, samples.collate(rows)) for rows in batches[3:])
    shares = where(lambda: step(batches[0]), cuda=arguments.device.startswith("cuda"))
    return sum(map(len, batches[3:])) / seconds, flops / seconds / 1e9, shares


def _flops(config: Any, batch: Batch) -> float:
    return training_flops(config, batch.attention_mask.sum(1).tolist(), (batch.labels != IGNORED).sum(1).tolist())


def _theirs(samples: Samples, tokenizer: Any, arguments: argparse.Namespace) -> float:
    """Samples/s of Seq2SeqTrainer over samples of the same epoch, as its own figures say."""
    rows = samples.epoch(seed=17, number=0, batch_size=arguments.batch_size)[: arguments.batches]
    dataset = []
    for batch in (samples.collate(row) for row in rows):
        for prompt, mask, label in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True):
            dataset.append({"input_ids": prompt[mask == 1].tolist(), "labels": label[label != -100].tolist()})
    model = use_library_kernels(_model(len(tokenizer), arguments))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Seq2SeqTrainer(
            model=model,
            args=Seq2SeqTrainingArguments(
                output_dir=str(Path(folder)),
                per_device_train_batch_size=arguments.batch_size,
                num_train_epochs=1,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                use_cpu=arguments.device == "cpu",
                bf16=arguments.bf16,
            ),
            train_dataset=dataset,
            data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        )
        with contextlib.redirect_stdout(sys.stderr):  # it prints its own figures
            trainer.train()
        return len(dataset) / float(trainer.state.log_history[-1]["train_runtime"])


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, both")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="what the device can do in that precision")
    return parser.parse_args()


if __name__ == "__main__":
    main()
