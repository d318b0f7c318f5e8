"""Learning curves as CSV, one file a curve, for `dvc plots show` and `dvc plots diff`: `step,value`.

    curves/cold_start_loss.csv  generator_loss.csv  recommender_loss.csv  recommender_valid_ndcg_at_10.csv

They are read from the pair's training log: what MLflow showed while it ran, also where the pair came from a cache.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.storage.artifacts import publishing

DRAWN = ("loss", "valid_ndcg_at_10")
"""What is worth a curve: the others are constant, or follow from these."""

Curves = dict[str, list[tuple[int, float]]]


def publish_curves(pair: Path, folder: Path) -> None:
    """Write the curves of a trained pair into `folder`; one without points where it has no log, so that the folder is
    never empty, which DVC would not restore.

    Raises `BadInput` for a line that is none of a log.
    """
    log = pair / "training_log.jsonl"
    found: Curves = {"recommender_loss": []} | (curves(log) if log.is_file() else {})
    with publishing(folder) as temporary:
        temporary.mkdir()
        for name, points in found.items():
            with (temporary / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
                rows = csv.writer(stream, lineterminator="\n")
                rows.writerows([("step", "value"), *points])


def curves(log: Path) -> Curves:
    """PHASE_FIGURE -> (steps of the whole training, value) of each epoch, in order."""
    found: Curves = defaultdict(list)
    for row in _epochs(log):
        for figure in DRAWN:
            if figure in row:
                found[f"{row['phase']}_{figure}"].append((int(row["steps"]), float(row[figure])))
    return dict(found)


def _epochs(log: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(log.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row["event"] == "epoch":
                yield {"phase": row["phase"], "steps": row["steps"], **row}
        except (ValueError, KeyError, TypeError) as error:
            mend = "restore the pair (dvc checkout) or train again"
            raise BadInput("not a line of a training log", where=f"{log}, line {number}", mend=mend) from error
