"""The base of all voices: recommenders made of counts of the training histories, saved in a directory.

voice = ItemGraph.build(catalogue, histories)
voice.recommend([["B001", "B007"]], 10, Decoding())
voice.save(folder)                                         # load(folder): components/voices/load.py
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from components.errors import BadInput
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, check_k, named
from components.settings.decoding import Decoding
from components.storage.artifacts import publishing
from components.storage.manifest import verify_manifest, write_manifest
from components.storage.ragged import Ragged

ARRAYS = "voice.safetensors"
_USERS = 2048
"""Users ranked at a time."""

Ints = NDArray[np.integer[Any]]
Ranked = Iterator[tuple[Ints, NDArray[np.float64]]]
"""For each user item numbers, best first, ties by number, and their scores."""


class Voice(ABC):
    """What all voices share: how histories become lists, and how a voice is saved. A subclass counts and ranks."""

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]]) -> None:
        """`arrays`: all that the voice knows besides its catalogue, by name."""
        self.catalogue, self.arrays = catalogue, arrays

    @classmethod
    @abstractmethod
    def build(cls, catalogue: Catalogue, histories: Ragged) -> Self:
        """From training histories: the item numbers of each user, oldest first."""

    @abstractmethod
    def ranked(self, histories: Sequence[Sequence[int]]) -> Ranked:
        """All items that a history of item numbers (oldest first) speaks for, its own among them."""

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
    ) -> list[list[Recommendation]]:
        """`interface.Recommender.recommend`; of `decoding` only `mask_seen` matters."""
        check_k(k)
        masked = self.catalogue.masks(decoding)
        known = [self.catalogue.rows(history) for history in histories]
        answers: list[list[Recommendation]] = []
        for start in (progress or Progress()).track(range(0, len(known), _USERS), "recommend"):
            users = known[start : start + _USERS]
            for (items, scores), history in zip(self.ranked(users), users, strict=True):
                if masked:
                    # The first k + len(history) hold k unseen ones if there are that many.
                    items, scores = items[: k + len(history)], scores[: k + len(history)]
                    unseen = ~np.isin(items, history)
                    items, scores = items[unseen], scores[unseen]
                answers.append(named(self.catalogue, items[:k].tolist(), scores[:k].tolist()))
        return answers

    def save(self, directory: Path) -> None:
        """Publish catalogue, arrays and a manifest whose `kind` is the name of this voice's file."""
        with publishing(directory) as temporary:
            temporary.mkdir()
            self.catalogue.save(temporary)
            save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, temporary / ARRAYS)
            kind = type(self).__module__.rpartition(".")[2]
            write_manifest(temporary, kind=kind, drop_repeats=self.catalogue.drop_repeats)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises `BadInput` for a file that is missing, changed or unlisted."""
        catalogue = Catalogue.load(directory, drop_repeats=bool(verify_manifest(directory).get("drop_repeats", True)))
        try:
            return cls(catalogue, load_file(directory / ARRAYS))
        except (OSError, SafetensorError) as error:
            mend = "restore it, or build and save the voice again"
            raise BadInput(f"not a voice: {error}", where=str(directory / ARRAYS), mend=mend) from error
