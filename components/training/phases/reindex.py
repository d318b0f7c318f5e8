"""Re-index: every item of the catalogue gets a fresh unique ID from the generator as it is now.

A training that goes on from a pair keeps the IDs of its items; the generator names the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from components.processes.signals import Stop
from components.progress import Progress
from components.textid.table.id_table import IdTable
from components.textid.table.quality import quality
from components.textid.words.own import OwnWords
from components.textid.words.twins import near_twins
from components.textid.writing.share import Share
from components.textid.writing.writer import write_ids
from components.training.checkpoints.state import TrainingState
from components.training.context import Context
from components.training.crash import crash_point

EXAMPLES = 12
"""IDs that a log line shows, spread over the catalogue."""


def reindex(
    context: Context, state: TrainingState, round_number: int, stop: Stop, progress: Progress
) -> tuple[IdTable, dict[str, Any]]:
    """A new table for the whole catalogue, and its log line: churn against the table before, examples, figures.

    The ranks share the writing, and each assigns all IDs from what all of them wrote: one table, whatever their number.
    A signal ends it at once or, with several ranks, on all of them before their next batch: `Interrupted` is raised.
    """
    if round_number == 1 and context.imported is not None:
        own = OwnWords.of(context.data.item_ids, context.data.texts)
        table = context.imported
        report = {"imported": len(table), **quality(table, own, near_twins(own))}
    else:
        table, report = _written(context, state, stop, progress)
    step = max(1, len(table) // EXAMPLES)
    row = {
        "event": "index",
        "round": round_number,
        "churn": table.churn(state.table) if state.table else 1.0,
        "examples": [{"item_id": table.item_ids[at], "words": table.words[at]} for at in range(0, len(table), step)][
            :EXAMPLES
        ],
        "report": report,
    }
    return table, row


def _written(context: Context, state: TrainingState, stop: Stop, progress: Progress) -> tuple[IdTable, dict[str, Any]]:
    """What the generator writes, and the writer's report."""
    job, ranks = context.job, context.ranks

    def boundary() -> None:
        if ranks.total(torch.tensor([float(stop.requested)])).item():
            raise stop.error()

    with stop.at_once(alone=ranks.size == 1):
        return write_ids(
            cast(PreTrainedModel, state.generator),
            context.tokenizer,
            context.data.item_ids,
            context.data.texts,
            job.index,
            max_item_tokens=job.train.max_item_tokens,
            taken=context.start.table if context.start else None,
            device=ranks.device,
            share=Share(ranks.rank, ranks.size, boundary if ranks.size > 1 else None),
            progress=Progress([_CrashPointSink(progress)], every_seconds=0.0),
        )


class _CrashPointSink:
    """Passes progress on and is a crash point: the writer belongs to another room and has no crash points."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        crash_point("index.progress")
        if event == "progress":
            self._progress.advance(fields["task"], fields["done"], fields["total"], force=True)

    def close(self) -> None:
        pass
