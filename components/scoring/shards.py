"""The folder of a scoring: split histories into shards, find unfinished ones, publish all as one output.

    folder = prepare(scoring, progress)          # does nothing the second time
    for number in pending(folder, print):
        score_shard(folder, number)              # components/scoring/score.py: by any process, in any order
    manifest = publish(folder)                   # all at once, the manifest last

A shard is published whole, with the SHA-256 of its rows: a process that is killed leaves none or a whole one, and
doing a shard twice writes the same bytes twice. What lies in the folder belongs to one model, one file of histories and
one set of settings, as its name is the hash of all that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.progress import Progress
from components.scoring.output import KIND, manifest_of, refuse_others
from components.scoring.settings import Scoring
from components.scoring.split import part, split
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.manifest import MANIFEST, verify_manifest, write_manifest

SETTINGS, FACTS = "scoring.json", "facts.json"
INPUT = "input"
SCORES = "scores.parquet"
COUNTS = ("users", "users_without_known_items", "items", "unknown_items", "recommendations")
"""What a shard's manifest counts: users, items of their histories, recommendations."""


def prepare(scoring: Scoring, progress: Progress) -> Path:
    """Make the folder of a scoring and return it; what is whole there already stays.

    Raises `BadInput` for histories that cannot be read, or are not those that the scoring began with.
    """
    folder = scoring.folder
    if not _is_whole(folder / INPUT, progress.note):
        content = scoring.fingerprints["histories"]
        split(scoring.histories, folder / INPUT, content=content, shard_users=scoring.shard_users, progress=progress)
    scoring.save(folder / SETTINGS)
    publish_json(folder / FACTS, {"key": scoring.key, **scoring.fingerprints})
    return folder


def pending(folder: Path, note: Callable[[str], None]) -> list[int]:
    """Numbers of the shards to score, in order: those that are not there, and those that are not what was written."""
    return [number for number in range(shards(folder)) if not _is_whole(shard(folder, number), note)]


def publish(folder: Path) -> dict[str, Any]:
    """Put all shards together as the scoring's `out`, in place of what was there; returns its manifest.

    Raises `BadInput` naming a shard that is missing or changed, or where `out` has become what must not be replaced.
    """
    scoring, facts = Scoring.load(folder / SETTINGS), read_json(folder / FACTS)
    out = scoring.out
    refuse_others(out, scoring.model, scoring.histories)
    totals = dict.fromkeys(COUNTS, 0)
    with publishing(out) as directory:
        directory.mkdir()
        for number in range(shards(folder)):
            counts = verify_manifest(shard(folder, number))
            totals = {name: totals[name] + counts[name] for name in COUNTS}
            _link(shard(folder, number) / SCORES, directory / part(number))
        if totals["users"] != users(folder):
            raise RuntimeError(f"{totals['users']} users were scored of {users(folder)}")
        described = {name: facts[name] for name in ("key", "histories", "model", "settings")}
        write_manifest(directory, kind=KIND, **described, **totals)
    return dict(read_json(out / MANIFEST))


def published(scoring: Scoring) -> dict[str, Any] | None:
    """Manifest of `out`, if it holds the whole and unchanged result of this very scoring."""
    manifest = manifest_of(scoring.out)
    if manifest is None or manifest.get("key") != scoring.key:
        return None
    try:
        return verify_manifest(scoring.out)
    except BadInput:
        return None


def users(folder: Path) -> int:
    """How many users the histories hold."""
    return int(read_json(folder / INPUT / MANIFEST)["users"])


def shard(folder: Path, number: int) -> Path:
    """Directory of a finished shard."""
    return folder / "shards" / f"{number:06d}"


def counts(folder: Path, number: int) -> dict[str, int]:
    """`COUNTS` of a finished shard."""
    manifest = read_json(shard(folder, number) / MANIFEST)
    return {name: int(manifest[name]) for name in COUNTS}


def shards(folder: Path) -> int:
    """How many shards a prepared folder has."""
    return int(read_json(folder / INPUT / MANIFEST)["shards"])


def _is_whole(directory: Path, note: Callable[[str], None]) -> bool:
    """Whether a directory is there and matches its manifest; one that does not is said and removed."""
    if not directory.exists():
        return False
    try:
        verify_manifest(directory)
    except BadInput as error:
        note(f"done again, as it is not what was written: {error.what} ({error.where})")
        shutil.rmtree(directory)
        return False
    return True


def _link(source: Path, target: Path) -> None:
    """A second name for the file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
