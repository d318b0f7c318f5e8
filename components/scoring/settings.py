"""Settings of a bulk scoring, and the fingerprints of all that decides its result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from components.errors import BadInput
from components.settings.decoding import Decoding
from components.storage.job import SavedAsJson
from components.storage.manifest import MANIFEST, digest, sha256

_PATHS = ("model", "histories", "out")
ROOMS = ("networks", "textid", "recommender", "voices", "ranking", "scoring")
"""The rooms whose code decides a score."""


@dataclass(frozen=True)
class Scoring(Decoding, SavedAsJson):
    """One bulk scoring: model, histories, settings (those of the decoding are inherited), output."""

    GONE: ClassVar = ("drop_repeats",)  # the model knows it

    model: Path
    """A bundle, a trained pair or a saved voice."""
    histories: Path
    """A file that `components/scoring/histories.py` reads."""
    out: Path
    """Directory of the result: part-*.parquet and a manifest. Replaced as a whole at the end (see output.py)."""
    k: int = 10
    """Items per user."""
    shard_users: int = 2048
    """Users in a shard: what a kill costs at most, per worker."""
    threads: int = 1
    """CPU threads of each process: they decide the last bits of the scores, the number of processes does not. One is
    best with as many workers as cores; a model too large for that wants more threads and fewer workers."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N. `auto` spreads the processes of a machine over its GPUs (devices.py)."""

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except ValueError as error:
            raise BadInput(str(error), where="scoring", mend="see components/settings/decoding.py") from error
        for name in ("k", "shard_users", "threads"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}", where="scoring", mend="give 1 or more")

    @cached_property
    def fingerprints(self) -> dict[str, Any]:
        """What decides the result: content of histories, model and code, and the settings; no paths.

        Raises `BadInput` where there is no model or no file of histories.
        """
        manifest = self.model / MANIFEST
        if not manifest.is_file():
            raise BadInput("there is no model", where=str(self.model), mend="give a bundle or a trained pair")
        if not self.histories.is_file():
            raise BadInput("there is no file of histories", where=str(self.histories), mend="give its path")
        settings = {name: value for name, value in dataclasses.asdict(self).items() if name not in _PATHS}
        return {
            "histories": sha256(self.histories),
            "model": sha256(manifest),
            "settings": settings,
            "code": code_fingerprints(),
        }

    @property
    def key(self) -> str:
        """Hash of the fingerprints: equal keys mean equal results."""
        return digest(self.fingerprints)

    @property
    def folder(self) -> Path:
        """Where the unfinished result lies: beside `out`, so that it can be renamed to it, and named by the key."""
        return work_folder(self.out) / self.key[:16]


@cache
def code_fingerprints() -> dict[str, str]:
    """SHA-256 of every file of the rooms that score, as this process found it."""
    rooms = Path(__file__).parents[1]
    files = [file for room in ROOMS for file in sorted((rooms / room).rglob("*.py"))]
    return {file.relative_to(rooms).as_posix(): sha256(file) for file in files}


def work_folder(out: Path) -> Path:
    """Where the unfinished results for `out` lie."""
    return out.parent / f".{out.name}.work"
