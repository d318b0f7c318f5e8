"""IDs for a catalogue by the generator of a trained pair, here or on several processes: what the stage `index` calls.

    table, report = index_ids(IndexJob(pair, items_clean, work, params.index, ranks=2), progress)

`python -m components.training.ids.indexing JOB.json` is what torchrun starts. Every process writes the candidates of
its batches and assigns all of them: the table is that of one process, whatever their number and that of their threads.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.processes.environment import prepare
from components.processes.torchrun import run_job, run_ranks
from components.progress import Progress
from components.recommender.item_views import GENERATOR
from components.recommender.item_views import load as load_views
from components.recommender.pair import Pair
from components.settings.params import Index
from components.storage import parquet
from components.storage.artifacts import publish_json, read_json
from components.storage.job import SavedAsJson
from components.textid.table.id_table import IdTable
from components.textid.writing.share import Share
from components.textid.writing.writer import write_ids
from components.training.devices.ranks import joined


@dataclass(frozen=True)
class IndexJob(SavedAsJson):
    """What to write IDs for, with what, and where."""

    pair: Path
    items_clean: Path
    """Parquet: item_id, text."""
    work: Path
    """Folder for what several processes exchange; emptied at the end."""
    settings: Index
    device: str = "auto"
    ranks: int = 1

    @property
    def table(self) -> Path:
        return self.work / "id_table.parquet"

    @property
    def report(self) -> Path:
        return self.work / "report.json"


def index_ids(job: IndexJob, progress: Progress) -> tuple[IdTable, dict[str, Any]]:
    """Write the table of a catalogue; returns it with the writer's report. Raises what `write_ids` raises."""
    if job.ranks == 1:
        return _write(job, progress)
    run_ranks("components.training.ids.indexing", job, ranks=job.ranks, progress=progress)
    written = IdTable.load(job.table), read_json(job.report)
    shutil.rmtree(job.work)
    return written


def _write(job: IndexJob, progress: Progress) -> tuple[IdTable, dict[str, Any]]:
    """Alone, or as one of torchrun's processes, of which the first leaves the result in `job.work`."""
    pair = Pair.load(job.pair)
    columns = parquet.read(job.items_clean, ["item_id", "text"]).to_pydict()
    load_views(pair.generator, job.pair, columns["item_id"], GENERATOR)
    with joined(job.device) as ranks:
        table, report = write_ids(
            pair.generator,
            pair.tokenizer,
            columns["item_id"],
            [text or "" for text in columns["text"]],  # as training reads it
            job.settings,
            max_item_tokens=pair.facts["train"]["max_item_tokens"],
            taken=pair.table if job.settings.stable else None,
            device=ranks.device,
            share=Share(ranks.rank, ranks.size),
            progress=progress,
        )
        report["churn"] = table.churn(pair.table)
        if ranks.first and ranks.size > 1:
            table.save(job.table)
            publish_json(job.report, report)
    return table, report


if __name__ == "__main__":
    prepare()
    path = Path(sys.argv[1])
    sys.exit(run_job(path.parent, lambda progress: _write(IndexJob.load(path), progress)))
