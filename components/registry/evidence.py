"""What a version's bundle says of itself, and what a clean process that serves it answers: evidence for a promotion.

of_bundle(bundle, champions_bundle, metric="ndcg_at_10")   # ID table, churn, size, validation
served = serve_once(workspace, "idiom", "12", histories, k=20)
served.lists, served.latency_ms, served.memory_mb
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.recommender.catalogue import ID_TABLE
from components.recommender.interface import Times
from components.recommender.pair import broken_rules
from components.registry.bundle import EVIDENCE, items_of
from components.registry.store import tracking_uri
from components.storage.artifacts import read_json
from components.textid.table.id_table import IdTable

_LOG = "training_log.jsonl"

# Imports MLflow alone and runs outside the checkout, so that what loads is the code and the bundle that were logged.
_ASK = """
import json, resource, sys, time
import mlflow, pandas
asked = json.load(sys.stdin)
mlflow.set_registry_uri(asked["uri"])
model = mlflow.pyfunc.load_model(asked["model"])
rows = pandas.DataFrame({"history": asked["histories"], "k": [asked["k"]] * len(asked["histories"])})
rows["times"] = pandas.Series(asked["times"], dtype=object)
lists = model.predict(rows)["item_ids"].tolist()
times = []
for row in range(min(len(rows), 16)):
    start = time.perf_counter()
    model.predict(rows.iloc[[row]])
    times.append(1000 * (time.perf_counter() - start))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
middle = sorted(times)[len(times) // 2]
print("ANSWER" + json.dumps({"lists": [list(each) for each in lists], "ms": middle, "mb": peak}))
"""


@dataclass(frozen=True)
class Served:
    """What a clean process answered, how long one user took (median) and how much memory it had at most."""

    lists: list[list[str]]
    latency_ms: float
    memory_mb: float


def of_bundle(bundle: Path, old: Path | None, *, metric: str, contract: bool = True) -> dict[str, Any]:
    """What a bundle says of itself, by the fields of `gates.Evidence`: ID table, tables that it learned from, size, its
    best value on validation; `churn` against the bundle `old`. contract: whether the ID table's contract is asked too,
    which takes the tokenizer."""
    table = IdTable.load(bundle / ID_TABLE)
    items = items_of(bundle)
    said = read_json(bundle / EVIDENCE) if (bundle / EVIDENCE).is_file() else {}
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return {
        "broken_rules": broken_rules(bundle, table, items) if contract else (),
        "churn": None if old is None else table.churn(IdTable.load(old / ID_TABLE)),
        "own_words": said.get("own_words", {}).get("share"),
        "own_words_by_chance": said.get("own_words", {}).get("by_chance"),
        "other_tables": _other_tables(said.get("learned_from", {})),
        "bundle_mb": size / 1e6,
        "validation": said["validation"].get(metric) if "validation" in said else _learned(bundle / _LOG, metric),
    }


def serve_once(
    workspace: Path, name: str, version: str, histories: Sequence[Sequence[str]], times: Times = None, *, k: int
) -> Served:
    """Load a registered version in a clean process and ask it. Raises `BadInput` with its last line where it fails."""
    uri = tracking_uri(workspace)
    asked = {
        "uri": uri,
        "model": f"models:/{name}/{version}",
        "histories": [list(row) for row in histories],
        "times": list(times or [None] * len(histories)),
        "k": k,
    }
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _ASK],
            input=json.dumps(asked),
            cwd=folder,
            env=environment | {"MLFLOW_TRACKING_URI": uri},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1][:300]
        mend = "register it again: dvc repro --single-item --force register"
        raise BadInput(f"the registered model cannot be served: {said}", where=f"{name} version {version}", mend=mend)
    answer = json.loads(lines[-1].removeprefix("ANSWER"))
    return Served(answer["lists"], answer["ms"], answer["mb"])


def _other_tables(learned_from: dict[str, dict[str, str]]) -> list[str] | None:
    """Tables that language model or ranker learned from and that are others than those of the evaluation; None where it
    is not known what the language model learned from, or what it was judged by."""
    judged_by = learned_from.get("judged by")
    if not judged_by or "language model" not in learned_from:
        return None
    return [
        f"{table} of the {who} ({digest[:12]}, not {judged_by.get(table, 'there')[:12]})"
        for who, tables in learned_from.items()
        for table, digest in tables.items()
        if digest != judged_by.get(table)
    ]


def _learned(log: Path, metric: str) -> float | None:
    """The language model's best value on validation, from the log of its training."""
    if not log.is_file():
        return None
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    values = [
        row[f"valid_{metric}"] for row in rows if row.get("event") in ("start", "epoch") and f"valid_{metric}" in row
    ]
    return max(values, default=None)
