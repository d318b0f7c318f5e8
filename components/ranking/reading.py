"""Histories to candidates with their features, by voices that were built from the same histories as the tables here.

reader = Reader.build(learned, params.rank, params.voices, core=5)
for block in reader.blocks(histories, days):
    block.candidates, block.columns                        # [candidates, features], as `reader.features` names them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.progress import Progress
from components.ranking import candidates as proposing
from components.ranking import counts, evidence, kinds, past
from components.ranking.features import Asked, Columns, Feature
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.graph import Graph
from components.voices.learned import Learned
from components.voices.load import build
from components.voices.matrix import packed, unpacked
from components.voices.text import Text, similar
from components.voices.voice import Voice

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
        arrays |= counts.timeline(learned)
        for name in chosen.evidence:
            voice = built[name]
            if isinstance(voice, Text):
                arrays |= packed(f"similar.{name}", similar(learned, voice.settings, chosen.similar))
        return cls(built, arrays, chosen)

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
        chosen = self.chosen
        scores = [voice.scores(histories, days) for voice in self.voices.values()]
        least = [voice.LEAST for voice in self.voices.values()]
        found = proposing.candidates(scores, least, histories, most=chosen.candidates)
        asked = Asked(histories, days, found.owners, found.items)
        parts = [found.columns]
        parts += [evidence.evidence(self._links[name], asked, most=chosen.newest) for name in chosen.evidence]
        parts.append(kinds.shared(self.arrays["kinds"], asked, most=chosen.newest))
        parts.append(counts.counted(self.arrays, asked, core=int(self.arrays["core"][0])))
        parts.append(past.past(asked))
        columns = np.concatenate(parts, axis=1)
        ranks = columns[:, ranks_of(self.features)]
        return Block(start, histories, found, squashed(np.concatenate([columns, proposing.summary(ranks)], axis=1)))

    @cached_property
    def _links(self) -> dict[str, sparse.csr_array]:
        """[items, items] of each voice of `chosen.evidence`."""
        found = {}
        for name in self.chosen.evidence:
            voice = self.voices[name]
            packed_as = f"similar.{name}"
            found[name] = voice.links if isinstance(voice, Graph) else unpacked(self.arrays, packed_as, self.items)
        return found


def features(chosen: Rank) -> list[Feature]:
    """The columns of a block, in order."""
    of_links = [each for name in chosen.evidence for each in evidence.features(name)]
    tables = [*kinds.features(), *counts.features(), *past.features()]
    return [*proposing.features(chosen.voices), *of_links, *tables, *proposing.summary_features()]


def ranks_of(features: Sequence[Feature]) -> list[int]:
    """Columns that hold the rank by a voice."""
    return [at for at, each in enumerate(features) if each.voice and each.name.endswith(".rank")]


def squashed(columns: Columns) -> NDArray[np.float16]:
    """sign(x) * log(1 + |x|): counts, days and ranks over powers of ten become numbers of like size."""
    return np.copysign(np.log(1.0 + np.abs(columns)), columns).astype(np.float16)
