"""The ID tables that the first round of a training would write, for the benchmarks that look at IDs.

tables = first_tables(clean_folder, Train(size="micro"), [Index(), Index(faithful=False)], seed=17)
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.console import Console
from components.processes.signals import Stop
from components.progress import Progress
from components.settings.params import Index
from components.settings.train import Train
from components.textid.table.id_table import IdTable
from components.training.checkpoints.checkpoint import Checkpointer, Checkpoints
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.cold_start import ColdStart, first_ids
from components.training.phases.reindex import reindex
from components.training.steps.loop import Optimisation, train_phase


def first_tables(
    clean: Path, train: Train, indexes: Sequence[Index], *, seed: int
) -> list[tuple[IdTable, dict[str, Any]]]:
    """A table and its report for each of `indexes`, all by one generator after its cold start (for the first of them).

    clean: the output folder of the stage `clean`. Without cold start steps the generator has random weights. The report
    holds the seconds of the writing too.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            items_clean=clean / "items_clean.parquet",
            histories=clean / "histories.parquet",
            valid_targets=clean / "valid_targets.parquet",
            out=Path(folder) / "pair",
            work=Path(folder) / "work",
            train=train,
            index=indexes[0],
            seed=seed,
            train_key="look",
        )
        ranks, stop, progress = Ranks(), Stop(), Progress([Console()])
        tables = dataset.load(job)
        context = Context.build(job, tables, tokenizer_of(job, tables, ranks), ranks)
        state, _ = fresh_models(context)
        if train.generator.cold_start_steps:
            checkpointer = Checkpointer(state, Checkpoints(job.work, job.train_key), ranks, stop, seconds=float("inf"))
            like = train.recommender
            how = Optimisation(seed, like.weight_decay, like.grad_clip, like.warmup_share)
            phase = ColdStart(context, state.generator, first_ids(context))
            train_phase(phase, state, how, ranks, checkpointer, progress)
        written = []
        for index in indexes:
            started = time.perf_counter()
            table, row = reindex(replace(context, job=replace(job, index=index)), state, 1, stop, progress)
            written.append((table, {**row["report"], "seconds": round(time.perf_counter() - started, 1)}))
        return written
