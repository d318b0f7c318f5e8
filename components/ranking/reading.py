"""Histories to candidates with their features, by voices that were built from the same histories as the tables here.

reader = Reader.build(learned, params.rank, params.voices, core=5)
for block in reader.blocks(histories, days):
    block.candidates, block.columns                        # [candidates, features], as `reader.features` names them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.progress import Progress
from components.ranking import candidates as proposing
from components.ranking import counts, evidence, kinds, past, shared
from components.ranking.features import Asked, Columns, Feature
from components.recommender.catalogue import Catalogue
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.graph import Graph
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.load import build
from components.voices.matrix import empty_rows, lengthened, packed, unpacked
from components.voices.text import Text
from components.voices.voice import Voice

_Number = TypeVar("_Number", bound="np.floating[Any]")
COUNTS = ("popularity", "recent")
"""Voices whose scores are numbers of events."""
_CELLS = 1 << 22
"""Scores of a voice for a block of users: 16 MiB."""


@dataclass(frozen=True)
class Block:
    """Some of the histories that ask, from row `first` on."""

    first: int
    histories: Ragged
    candidates: proposing.Candidates
    columns: NDArray[np.float16]
    """[candidates, features] after `squashed`."""


class Reader:
    """Voices and tables of one set of training histories."""

    def __init__(self, voices: Mapping[str, Voice], arrays: Mapping[str, NDArray[Any]], chosen: Rank) -> None:
        """`arrays`: what the features need beside the voices, as `build` makes it."""
        self.voices, self.arrays, self.chosen = dict(voices), dict(arrays), chosen
        self.features = features(chosen)

    @classmethod
    def build(cls, learned: Learned, chosen: Rank, voices: Voices | None = None, *, core: int = 0) -> Self:
        """Build the voices and the tables. `core`: the k of the k-core, below which counts are not told apart."""
        built = {name: build(name, learned, voices) for name in chosen.voices}
        arrays: dict[str, NDArray[Any]] = {"core": np.array([core]), "kinds": kinds.codes(learned)}
        arrays |= counts.timeline(learned, core=core)
        for name in chosen.evidence:
            voice = built[name]
            if isinstance(voice, Text):
                arrays |= packed(f"similar.{name}", voice.similar(learned, chosen.similar))
        arrays |= shared.tails(learned, chosen.shared)
        return cls(built, arrays, chosen)

    def extended(
        self, catalogue: Catalogue, known: Mapping[str, Sequence[Any]], texts: Mapping[str, Sequence[Any]]
    ) -> Self:
        """The same for a longer catalogue, as `Scorer.extended`; known: columns of the items that were there."""
        more, arrays = len(catalogue.table) - self.items, dict(self.arrays)
        arrays["kinds"] = kinds.extended(arrays["kinds"], known, texts, more)
        arrays |= counts.extended(arrays, more)
        for name in self.chosen.shared:
            arrays |= lengthened(arrays, f"shared.{name}", empty_rows(more))
        voices = {name: voice.extended(catalogue, texts) for name, voice in self.voices.items()}
        for name in self.chosen.evidence:
            voice = self.voices[name]
            if isinstance(voice, Text):
                packed_as = f"similar.{name}"
                near, cosines = voice.near(voice.of_new(texts, more), self.chosen.similar)
                arrays |= packed(packed_as, with_links(unpacked(arrays, packed_as, self.items), near, cosines))
        return type(self)(voices, arrays, self.chosen)

    @property
    def items(self) -> int:
        return self.arrays["kinds"].shape[1]

    def blocks(self, histories: Ragged, days: Days, progress: Progress | None = None) -> Iterator[Block]:
        """All histories, some at a time, in order."""
        users = max(1, _CELLS // max(1, self.items))
        for start in (progress or Progress()).track(range(0, len(histories), users), "features"):
            block = histories.between(start, start + users)
            first = histories.offsets[start]
            yield self._block(start, block, days[first : first + len(block.values)])

    def _block(self, start: int, histories: Ragged, days: Days) -> Block:
        scores = [voice.scores(histories, days) for voice in self.voices.values()]
        return self.block_of(start, histories, days, scores)

    def block_of(self, start: int, histories: Ragged, days: Days, scores: Sequence[Scores]) -> Block:
        """The block of some histories, from the scores of all voices for them, which it overwrites (`candidates`)."""
        for name, each in zip(self.voices, scores, strict=True):
            self.heard(name, each)
        least = [voice.LEAST for voice in self.voices.values()]
        found = proposing.candidates(scores, least, histories, most=self.chosen.candidates)
        asked = Asked(histories, days, found.owners, found.items)
        return Block(start, histories, found, self.columns(found.columns, asked))

    def heard(self, voice: str, scores: NDArray[_Number]) -> NDArray[_Number]:
        """What the ranker hears of a voice, in place of its scores: counts below the core are not told apart, as in
        counts.py, nor what of them is recent."""
        if voice in COUNTS and (core := int(self.arrays["core"][0])):
            np.maximum(scores, core, out=scores)
        return scores

    def columns(self, of_voices: Columns, asked: Asked) -> NDArray[np.float16]:
        """[candidates, features] of any items, from what the voices say of them (`candidates.features`)."""
        chosen = self.chosen
        parts = [of_voices]
        parts += [evidence.evidence(self._links[name], asked, most=chosen.newest) for name in chosen.evidence]
        parts.append(kinds.shared(self.arrays["kinds"], asked, most=chosen.newest))
        parts += shared.shared(self.arrays, asked, chosen.shared, most=chosen.newest)
        parts.append(counts.counted(self.arrays, asked, core=int(self.arrays["core"][0])))
        parts.append(past.past(asked))
        columns = np.concatenate(parts, axis=1)
        ranks = columns[:, ranks_of(self.features)]
        return squashed(np.concatenate([columns, proposing.summary(ranks)], axis=1))

    @cached_property
    def _links(self) -> dict[str, sparse.csr_array]:
        """[items, items] of each voice of `chosen.evidence`."""
        found = {}
        for name in self.chosen.evidence:
            voice = self.voices[name]
            packed_as = f"similar.{name}"
            found[name] = voice.links if isinstance(voice, Graph) else unpacked(self.arrays, packed_as, self.items)
        return found


def with_links(links: sparse.csr_array, near: NDArray[np.int64], cosines: NDArray[np.float32]) -> sparse.csr_array:
    """`links` [items, items] with a row and a column for each new item: to its nearest items, and from them to it.

    near, cosines: [new, most], -1 and -inf where there are fewer. New items are not linked to each other.
    """
    items, new = links.shape[0], len(near)
    rows, places = np.nonzero(near >= 0)
    old, values = near[rows, places], cosines[rows, places]
    there = sparse.coo_array((values, (rows + items, old)), shape=(items + new, items + new))
    back = sparse.coo_array((values, (old, rows + items)), shape=(items + new, items + new))
    longer = sparse.csr_array(
        (links.data, links.indices, np.concatenate([links.indptr, np.repeat(links.indptr[-1:], new)])),
        shape=(items + new, items + new),
    )
    found = (longer + there.tocsr() + back.tocsr()).tocsr()
    return found.astype(np.float32)


def features(chosen: Rank) -> list[Feature]:
    """The columns of a block, in order."""
    of_links = [each for name in chosen.evidence for each in evidence.features(name)]
    tables = [*kinds.features(), *shared.features(chosen.shared), *counts.features(), *past.features()]
    return [*proposing.features(chosen.voices), *of_links, *tables, *proposing.summary_features()]


def ranks_of(features: Sequence[Feature]) -> list[int]:
    """Columns that hold the rank by a voice."""
    return [at for at, each in enumerate(features) if each.voice and each.name.endswith(".rank")]


def squashed(columns: Columns) -> NDArray[np.float16]:
    """sign(x) * log(1 + |x|): counts, days and ranks over powers of ten become numbers of like size."""
    return np.copysign(np.log(1.0 + np.abs(columns)), columns).astype(np.float16)
