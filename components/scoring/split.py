"""Split a stream of histories into one file a shard, so that a process reads its own shard alone.

A shard is a range of rows, in the order of the source: which user is in which shard depends on nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.errors import BadInput
from components.progress import Progress
from components.scoring.histories import SCHEMA, USER, Batches, read_histories
from components.storage.artifacts import publishing
from components.storage.manifest import sha256, write_manifest


def part(number: int) -> str:
    """File name of a shard's rows."""
    return f"part-{number:06d}.parquet"


def split(source: Path, directory: Path, *, content: str, shard_users: int, progress: Progress) -> None:
    """Publish `directory`: a file for every `shard_users` users of `source`, and a manifest with `users` and `shards`.

    Holds one shard in memory (and 8 bytes a user where the users are not sorted). content: SHA-256 that the scoring
    knows `source` by. Raises `BadInput` for what `read_histories` refuses, no users at all, a user who occurs twice, or
    other content.
    """
    with publishing(directory) as temporary:
        temporary.mkdir()
        users = shards = 0
        last, rising = "", True
        for table in _cut(read_histories(source), shard_users):
            pq.write_table(table, temporary / part(shards), compression="zstd")
            names = table[USER].combine_chunks()
            rising = rising and last < names[0].as_py() and pc.all(pc.less(names[:-1], names[1:]), min_count=0).as_py()
            last, users, shards = names[-1].as_py(), users + len(table), shards + 1
            progress.advance("read histories", users, None)
        if not users:
            raise BadInput("there are no users", where=str(source), mend="give a file with at least one history")
        if not rising:
            _refuse_repeated([temporary / part(number) for number in range(shards)], users, source)
        if sha256(source) != content:  # replaced before it was opened, or while it was read
            mend = "run the same command again: it scores the file that is there now"
            raise BadInput("the histories have changed since the scoring began", where=str(source), mend=mend)
        write_manifest(temporary, users=users, shards=shards)


def _cut(batches: Batches, size: int) -> Iterator[pa.Table]:
    """Tables of `size` rows; the last one may be shorter."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while batch.num_rows:
            piece = batch.slice(0, size - rows)
            batch = batch.slice(piece.num_rows)
            held.append(piece)
            rows += piece.num_rows
            if rows == size:
                yield pa.Table.from_batches(held, SCHEMA)
                held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held, SCHEMA)


def _refuse_repeated(files: list[Path], users: int, source: Path) -> None:
    """Find users who occur twice by their hashes, and only where hashes meet by their names."""
    hashes = np.concatenate([np.fromiter(map(hash, _names(file)), np.int64) for file in files])
    ordered = np.sort(hashes)
    met = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not met:
        return
    counts = Counter(name for file in files for name in _names(file) if hash(name) in met)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise BadInput(
            f"{len(twice)} of {users} users occur more than once: {', '.join(twice[:10])}",
            where=str(source),
            mend="give each user one row; in a table of interactions, all rows of a user together",
        )


def _names(file: Path) -> list[str]:
    return list(pq.read_table(file, columns=[USER])[USER].to_pylist())
