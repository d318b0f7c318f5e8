"""Score one shard, given its folder and number: in a worker process, a torchrun rank or a Dask worker alike."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from components.errors import BadInput
from components.progress import Progress
from components.ranking.load import load
from components.recommender.interface import Recommendation, Recommender
from components.scoring.devices import own_device
from components.scoring.histories import HISTORY, TIMES, USER
from components.scoring.settings import Scoring, code_fingerprints
from components.scoring.shards import COUNTS, FACTS, INPUT, SCORES, SETTINGS, shard
from components.scoring.split import part
from components.storage.artifacts import publishing, read_json
from components.storage.manifest import MANIFEST, sha256, write_manifest

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("known_items", pa.int32(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("textual_ids", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
    ]
)
"""One row a user, in the order of the histories; lists best first. known_items: items of the history that the model has
an ID for; where it is 0, the recommendations are those for a new visitor."""


def score_shard(
    folder: Path, number: int, *, device: str | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Score a shard of a prepared folder, publish it, and return its counts; a shard that is done is done again.

    device: instead of the scoring's. torch takes as many threads of this process as the scoring says, from here on.
    Raises `BadInput` for a model or code that is not what the scoring began with, or a folder that is not seen here.
    """
    scoring, facts = Scoring.load(folder / SETTINGS), read_json(folder / FACTS)
    if facts["code"] != code_fingerprints():
        raise BadInput(
            "this process runs other code than the one that began the scoring",
            where=str(Path(__file__).parent),
            mend="give every machine the same version of the repository, then run the same command again",
        )
    recommender = _recommender(scoring.model, facts["model"], device or scoring.device)
    torch.set_num_threads(scoring.threads)
    rows = pq.read_table(folder / INPUT / part(number))
    catalogue, histories = recommender.catalogue, rows[HISTORY].to_pylist()
    found = recommender.recommend(histories, scoring.k, scoring, progress, rows[TIMES].to_pylist())
    histories = [catalogue.canonical(history) for history in histories]
    known = [len(catalogue.rows(history)) for history in histories]
    items, recommended = sum(map(len, histories)), sum(map(len, found))
    counts = dict(zip(COUNTS, (len(rows), known.count(0), items, items - sum(known), recommended), strict=True))
    with publishing(shard(folder, number)) as directory:
        directory.mkdir()
        pq.write_table(_table(rows[USER].to_pylist(), known, found), directory / SCORES, compression="zstd")
        write_manifest(directory, **counts)
    return counts


def _table(users: list[str], known: list[int], found: list[list[Recommendation]]) -> pa.Table:
    columns = [
        users,
        known,
        [[each.item_id for each in row] for row in found],
        [[each.words for each in row] for row in found],
        [[each.score for each in row] for row in found],
    ]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


@lru_cache(maxsize=1)
def _recommender(model: Path, manifest_sha256: str, device: str) -> Recommender:
    """The model, loaded once a process. A retraining may replace it while a scoring runs: two models must not mix."""
    recommender = load(model, device=own_device(device))
    if sha256(model / MANIFEST) != manifest_sha256:
        raise BadInput(
            "the model has changed since the scoring began",
            where=str(model),
            mend="run the same command again: it scores all users with the model that is there now",
        )
    return recommender
