"""Score all users by a team of processes, on this machine or others, and publish the result.

    summary = score_all(Scoring(model, histories, out), workers=2, progress=progress)

Stopped or killed at any moment and started again, it goes on at the shards that are not done; the output is the same,
byte for byte, with any team and any number of workers.
"""

from __future__ import annotations

import glob
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.progress import Progress
from components.scoring.output import refuse_others
from components.scoring.settings import Scoring, work_folder
from components.scoring.shards import counts, pending, prepare, publish, published, users
from components.scoring.workers import ShardProgress, Team, score_shards
from components.storage.lock import locked

_REPORT_SECONDS = 10.0
"""How often the rate is reported."""


@dataclass(frozen=True)
class Summary:
    """What a scoring came to."""

    manifest: dict[str, Any]
    """That of the output: users, users_without_known_items, unknown_items, ..."""
    users: int
    """Users scored by this call: fewer than all where it went on, 0 where nothing was left."""
    seconds: float
    """Time for them, the start of the processes included."""


def score_all(
    scoring: Scoring,
    *,
    workers: int,
    progress: Progress,
    stopped: Callable[[], Any] = lambda: False,
    team: Team = score_shards,
) -> Summary:
    """Score all users of `scoring` and publish its output; returns what it came to.

    Does nothing where the output is there already. Raises `BadInput` for what cannot be scored, an `out` that must not
    be replaced (output.py) or another scoring that is writing to it, `Interrupted` after `stopped()`; what was at `out`
    before stays until the end.
    """
    started = time.monotonic()
    if workers < 1:
        raise BadInput(f"workers is {workers}", where="scoring", mend="give 1 or more")
    refuse_others(scoring.out, scoring.model, scoring.histories)
    with output_lock(scoring.out):
        _remove_leftovers(scoring.out, progress)
        if (manifest := published(scoring)) is not None:
            shutil.rmtree(work_folder(scoring.out), ignore_errors=True)
            return Summary(manifest, 0, time.monotonic() - started)
        _remove_others(scoring, progress)
        folder = prepare(scoring, progress)
        left = pending(folder, progress.note)
        scored = _score(
            scoring, folder, left, team(folder, left, workers=workers, device=scoring.device, stopped=stopped), progress
        )
        manifest = publish(folder)
        shutil.rmtree(work_folder(scoring.out))
    return Summary(manifest, scored, time.monotonic() - started)


def _score(scoring: Scoring, folder: Path, left: list[int], steps: Iterator[ShardProgress], progress: Progress) -> int:
    """Follow a team that scores the shards `left`; returns how many users that were."""
    total, size = users(folder), scoring.shard_users
    open_users = sum(min(size, total - number * size) for number in left)
    if open_users < total:
        progress.note(f"{total - open_users} of {total} users are scored already")
    started, reported, done, shares = 0.0, 0.0, 0, dict[int, float]()
    for step in steps:
        now = time.monotonic()
        started = started or now  # the first word comes when a model is loaded, or a team is there
        shares[step.number] = step.share * min(size, total - step.number * size)
        if step.done:
            done += counts(folder, step.number)["users"]
            del shares[step.number]
            if now - reported > _REPORT_SECONDS or done == open_users:
                reported = now
                progress.metrics({"users_per_s": done / (now - started)}, step=done)
        so_far = total - open_users + done + int(sum(shares.values()))
        progress.advance("score", so_far, total, force=done == open_users)
    return done


def output_lock(out: Path) -> AbstractContextManager[int]:
    """The lock of an output. Raises `BadInput` where another scoring holds it."""
    mend = "wait for it, or give another --out"
    busy = BadInput("another scoring writes to this output", where=str(out), mend=mend)
    return locked(out.parent / f".{out.name}.lock", busy, seconds=0.0)


def _remove_leftovers(out: Path, progress: Progress) -> None:
    """Drop what was killed while it published `out`: under the lock of `out` nobody does."""
    # Of this very output: `scores.*` would match that of `scores.daily`, which has a lock of its own.
    for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.{'[0-9a-f]' * 8}.tmp")):
        progress.note(f"removed {left}: left by a scoring that was killed")
        shutil.rmtree(left)


def _remove_others(scoring: Scoring, progress: Progress) -> None:
    """Drop what an unfinished scoring of other histories, another model or other settings left."""
    folder = work_folder(scoring.out)
    for other in sorted(folder.iterdir()) if folder.is_dir() else []:
        if other != scoring.folder:
            progress.note(f"removed {other}: an unfinished scoring of another model, other settings or histories")
            shutil.rmtree(other)
