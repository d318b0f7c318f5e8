"""A re-index as one of several ranks, undisturbed and with a signal to the last rank."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.errors import Interrupted
from components.processes.signals import Stop
from components.progress import Progress
from components.storage.artifacts import publish_json
from components.training.context import Context
from components.training.devices.ranks import joined
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.reindex import reindex


class Signalled:
    """A sink that sends SIGTERM to its own process at the first progress it hears of."""

    def emit(self, event: str, fields: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        pass


def write_reindex(job: Job, out: Path) -> None:
    """Write OUT.RANK: the table's digest, the report, and how the disturbed re-index ended."""
    with joined("cpu") as ranks, Stop(give_back_sigint=True).listening() as stop:
        tables = dataset.load(job)
        context = Context.build(job, tables, tokenizer_of(job, tables, ranks), ranks)
        context = replace(context, job=replace(job, index=replace(job.index, batch_items=3)))
        state, _ = fresh_models(context)
        table, row = reindex(context, state, 2, stop, Progress())
        last = ranks.rank == ranks.size - 1
        ended = "to its end"
        try:
            reindex(context, state, 2, stop, Progress([Signalled()] if last else [], every_seconds=0.0))
        except Interrupted:
            ended = "interrupted"
        publish_json(Path(f"{out}.{ranks.rank}"), {"digest": table.digest(), "row": row, "ended": ended})
