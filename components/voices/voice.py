"""The base of all voices: recommenders that score every item for a block of histories, saved in a directory.

voice = build("graph", Learned(catalogue, histories))      # components/voices/load.py
voice.recommend([["B001", "B007"]], 10, Decoding())
scores = voice.scores(histories, days)                     # [users, items]
items, values = best(scores, 50, least=voice.LEAST)        # [users, 50]; places(...): the ranks of given items
voice.save(folder)                                         # load(folder)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from components.errors import BadInput
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Times, check_k, named_rows
from components.settings.bounds import Section
from components.settings.decoding import Decoding
from components.settings.params import to_dict
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.job import from_json
from components.storage.manifest import verify_manifest, write_manifest
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores, best

ARRAYS, SETTINGS = "voice.safetensors", "settings.json"
_CELLS = 1 << 22
"""Scores of a block of users: 16 MiB."""
_FEWEST = 32
"""Users of a block at least: a dense voice reads the vectors of all items for each block. 128 MiB at 1e6 items."""
_DAY = 86_400.0


class Scorer(ABC):
    """A recommender that scores every item: how scores become lists, and how it is saved. A subclass scores."""

    Settings: ClassVar[type[Section] | None] = None
    """The class of its settings in components/settings/voices.py, if it has any."""
    LEAST: ClassVar[float] = 0.0
    """An item that scores no more is not recommended."""

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any = None) -> None:
        """`arrays`: all that the voice learned, by name; `chosen`: its settings."""
        self.catalogue, self.arrays, self.settings = catalogue, arrays, chosen

    @abstractmethod
    def scores(self, histories: Ragged, days: Days) -> Scores:
        """[users, items] the score of every item, those of the history among them; the caller may write into it.

        `histories` holds item numbers, `days` [events] days since 1970 or NaN. A row depends on its history alone.
        """

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """`interface.Recommender.recommend`; of `decoding` only `mask_seen` matters."""
        check_k(k)
        known, days = self.read(histories, times)
        masked = self.catalogue.masks(decoding)
        answers: list[list[Recommendation]] = []
        for block, scores in self.blocks(known, days, progress):
            items, values = best(scores, k, least=self.LEAST, excluded=block if masked else None)
            answers += named_rows(self.catalogue, items, values)
        return answers

    def blocks(
        self, histories: Ragged, days: Days, progress: Progress | None = None
    ) -> Iterator[tuple[Ragged, Scores]]:
        """`scores` of some histories at a time, beside those histories, in order."""
        users = max(_FEWEST, _CELLS // max(1, len(self.catalogue.table)))
        for start in (progress or Progress()).track(range(0, len(histories), users), "recommend"):
            block = histories.between(start, start + users)
            first = histories.offsets[start]
            yield block, self.scores(block, days[first : first + len(block.values)])

    def read(self, histories: Sequence[Sequence[str]], times: Times = None) -> tuple[Ragged, Days]:
        """Histories of item ids as `scores` takes them. `times`: seconds since 1970 of each event of each history."""
        places = [self.catalogue.places(history) for history in histories]
        known = Ragged.of([[row for _, row in each] for each in places])
        days = np.full(len(known.values), np.nan)
        for number, moments in enumerate(times or ()):
            if moments is not None:
                kept = [moments[place] / _DAY for place, _ in places[number]]
                days[known.offsets[number] : known.offsets[number + 1]] = kept
        return known, days

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """The same for a longer catalogue: its items, then new ones that nobody took yet, without learning again.

        texts: column -> a value for each new item. What it says of the others stays as it is. Raises `BadInput` for a
        voice that has to be trained to know an item.
        """
        mend = "take the voice out of rank.voices, or train again: idiom retrain"
        raise BadInput("it knows no item that it was not trained on", where=type(self).__name__, mend=mend)

    def new_items(self, catalogue: Catalogue) -> int:
        """How many items a longer catalogue has more."""
        return len(catalogue.table) - len(self.catalogue.table)

    def save(self, directory: Path) -> None:
        """Publish catalogue, arrays, settings and a manifest whose `kind` is the name of this voice's file."""
        with publishing(directory) as temporary:
            temporary.mkdir()
            self.catalogue.save(temporary)
            save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, temporary / ARRAYS)
            if self.Settings is not None:
                publish_json(temporary / SETTINGS, to_dict(self.settings))
            kind = type(self).__module__.rpartition(".")[2]
            write_manifest(temporary, kind=kind, drop_repeats=self.catalogue.drop_repeats)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises `BadInput` for a file that is missing, changed or unlisted."""
        catalogue = Catalogue.load(directory, drop_repeats=bool(verify_manifest(directory).get("drop_repeats", True)))
        try:
            chosen = None if cls.Settings is None else from_json(cls.Settings, read_json(directory / SETTINGS))
            return cls(catalogue, load_file(directory / ARRAYS), chosen)
        except (OSError, SafetensorError, TypeError, ValueError) as error:
            mend = "restore it, or build and save the voice again"
            raise BadInput(f"not a voice: {error}", where=str(directory / ARRAYS), mend=mend) from error


class Voice(Scorer):
    """A scorer that learns from histories alone."""

    @classmethod
    @abstractmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        """Learn. `chosen`: an instance of `Settings`, None where there are none."""
