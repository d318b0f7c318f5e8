"""The model behind an alias, always the current one: a version that was promoted or rolled back to is swapped in.

    following = Following(workspace, params, "champion")
    following.refresh()                            # loads what the alias names, if it is another; in any thread
    following.model.answers(histories, ks)

It is loaded beside the old one. Who takes `model` once for a batch gets all of it from one version: the old one stays
until the last who holds it is done.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.errors import StageError
from components.registry.answers import Answers
from components.registry.champion import behind, numbered_bundle
from components.settings.decoding import Mode
from components.settings.params import Params
from components.storage.thumbnails import THUMBNAILS, Thumbnails

_WAIT_SECONDS, _LONGEST_SECONDS = 2.0, 60.0
"""Before a version that could not be loaded is tried again: twice as long each time."""


@dataclass(frozen=True)
class Model:
    """One loaded version."""

    version: str
    digest: str
    """`bundle_sha256` of its bundle."""
    answers: Answers
    seconds: float
    """What loading took."""
    pictures: Mapping[str, bytes]
    """Item id -> a small JPEG, of the items that have one."""


class Following:
    """Holds the model of one alias."""

    def __init__(self, workspace: Path, params: Params, alias: str, mode: Mode | None = None) -> None:
        """`mode`: who answers, instead of whom a version names; one that lacks it cannot be loaded."""
        self._workspace, self._params, self.alias, self._mode = workspace, params, alias, mode
        self._loading = threading.Lock()
        self._failed: tuple[str, str] | None = None
        self._again: tuple[tuple[str, str], float, float] | None = None
        """A version that failed, when it may be tried again, and how long was waited for that."""
        self.model: Model | None = None
        """None before the first `refresh`, and where no version has the alias (of a challenger)."""
        self.swaps = 0
        """How often another version took over."""
        self.failures = 0
        """How often a version could not be loaded; the old one stays."""

    def refresh(self, *, keep: bool = True) -> bool:
        """Load what the alias names if it is not what is held; whether it changed.

        Raises `StageError` for what cannot be loaded while nothing is held. Else the old model stays, it is said once a
        version, and that version is tried again ever later, as its whole bundle is read each time; without `keep` the
        old one goes, and the error is raised.
        """
        with self._loading:
            named = None
            try:
                named = behind(self._workspace, self._params, self.alias)
                if self.model is not None and named == (self.model.version, self.model.digest):
                    return False
                if self.model is not None and keep and self._too_early(named):
                    return False
                found = self._load(*named)
            except StageError as error:
                if self.model is None or not keep:
                    self.model = None
                    raise
                if named is not None:
                    self._wait_for(named)
                self._say_once(error)
                return False
            self.swaps += self.model is not None
            self.model, self._failed, self._again = found, None, None
            return True

    def beside(self, alias: str) -> Following:
        """The same model's other alias; nothing is loaded yet."""
        return Following(self._workspace, self._params, alias, self._mode)

    def _load(self, version: str, digest: str) -> Model:
        started = time.perf_counter()
        bundle = numbered_bundle(self._workspace, self._params, version, digest)
        # The library alone takes longer to import than all else.
        answers = Answers.of(bundle, mode=self._mode, lean=True)
        # The first question builds what later ones share: it is not a user's.
        answers([[answers.catalogue.table.item_ids[0]]], [10])
        return Model(version, digest, answers, time.perf_counter() - started, Thumbnails.load(bundle / THUMBNAILS))

    def _too_early(self, named: tuple[str, str]) -> bool:
        return self._again is not None and self._again[0] == named and time.monotonic() < self._again[1]

    def _wait_for(self, named: tuple[str, str]) -> None:
        waited = self._again[2] if self._again is not None and self._again[0] == named else _WAIT_SECONDS / 2
        seconds = min(2 * waited, _LONGEST_SECONDS)
        self._again = named, time.monotonic() + seconds, seconds

    def _say_once(self, error: StageError) -> None:
        self.failures += 1
        failed = (self.alias, error.what)
        if failed != self._failed:
            self._failed = failed
            print(f"warning: the old version is served on: {error}", file=sys.stderr, flush=True)
