"""Experts: several language models over one catalogue as one recommender, each with the IDs that its generator wrote.

    save(folder, {"beauty": pair, "toys": other}, catalogue, gates={"beauty": 0.7, "toys": 0.3})
    experts = Experts.load(folder)               # or components/ranking/load.py: load(folder)

A mixture of distributions over items, after the trie: the sum of gate x probability of an item's ID; an item that the
beams of an expert do not find has no part from it. The gates are of the catalogue, by how near its texts are to those
that taught each expert (`gates_by_text`), and of no user.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.progress import Progress
from components.ranking.modes import written_list
from components.recommender.catalogue import ID_TABLE, Catalogue
from components.recommender.interface import Recommendation, Recommender, Times, check_k, named_rows
from components.settings.bounds import MOST_BEAMS
from components.settings.decoding import Decoding
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.manifest import verify_manifest, write_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.lists import Listed

EXPERTS = "experts"
"""Kind of the folder, and in it the folder of the pairs."""
_GATES = "gates.json"
_SHARPNESS = 8.0
"""Gates go as likeness to this power: catalogues of one language are alike by some tenths in any case."""


class Experts:
    """`interface.Recommender`. `catalogue` has the IDs of the expert with the largest gate, which answers show."""

    def __init__(self, catalogue: Catalogue, experts: Sequence[Recommender], gates: Sequence[float]) -> None:
        """gates: one for each expert; 1 in all."""
        if len(experts) != len(gates) or not experts or abs(sum(gates) - 1) > 1e-6 or min(gates) < 0:
            raise ValueError(f"{len(experts)} experts with gates {list(gates)}")
        self.catalogue, self.experts, self.gates = catalogue, list(experts), list(gates)

    @classmethod
    def load(cls, directory: Path, *, catalogue: Catalogue | None = None, device: str = "auto") -> Self:
        """What `save` wrote; `catalogue` replaces its own. Raises `BadInput` for what does not match its manifest."""
        from components.recommender.engine import Engine

        verify_manifest(directory)
        said = read_json(directory / _GATES)
        own = catalogue or Catalogue.load(directory, drop_repeats=said["drop_repeats"])
        experts = []
        for name in said["gates"]:
            folder = directory / EXPERTS / name
            of = replace(own, table=IdTable.load(folder / ID_TABLE))
            experts.append(Engine.load(folder, catalogue=of, device=device))
        return cls(own, experts, list(said["gates"].values()))

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """`interface.Recommender.recommend`; every expert searches with at least the beams of `decoding`."""
        check_k(k)
        wanted, items = min(max(k, decoding.beams), MOST_BEAMS), len(self.catalogue.table)
        listed = []
        for expert, gate in zip(self.experts, self.gates, strict=True):
            if gate:
                listed.append(
                    (gate, written_list(self.catalogue, expert.recommend(histories, wanted, decoding, progress)))
                )
        both = summed(listed, items=items)
        masked = self.catalogue.masks(decoding)
        seen = Ragged.of([self.catalogue.rows(history) for history in histories]) if masked else None
        found, scores = both.best(len(histories), k, items=items, excluded=seen)
        return named_rows(self.catalogue, found, scores)


def summed(listed: Sequence[tuple[float, Listed]], *, items: int) -> Listed:
    """log of the sum of gate x exp(score), of (gate, lists) over a catalogue of `items` items."""
    keys, back = np.unique(
        np.concatenate([each.owners * items + each.items for _, each in listed]), return_inverse=True
    )
    parts = np.concatenate([gate * np.exp(each.scores, dtype=np.float64) for gate, each in listed])
    total = np.bincount(back, parts, minlength=len(keys))
    with np.errstate(divide="ignore"):
        scores = np.log(total).astype(np.float32)
    return Listed(keys // items, keys % items, scores)


def save(directory: Path, pairs: Mapping[str, Path], catalogue: Catalogue, gates: Mapping[str, float]) -> None:
    """Write experts as one directory: pairs of one catalogue by name, each with its own ID table.

    Raises `BadInput` for a pair of other items.
    """
    names = sorted(pairs, key=lambda name: (-gates[name], name))
    tables = {name: IdTable.load(pairs[name] / ID_TABLE) for name in names}
    for name, table in tables.items():
        if table.item_ids != catalogue.table.item_ids:
            mend = "give each the ID table of this catalogue (components/adapt.py: with_ids)"
            raise BadInput("an expert has IDs of other items, or in another order", where=str(pairs[name]), mend=mend)
    with publishing(directory) as folder:
        folder.mkdir(parents=True)
        replace(catalogue, table=tables[names[0]]).save(folder)
        for name in names:
            shutil.copytree(pairs[name], folder / EXPERTS / name)
        said = {"drop_repeats": catalogue.drop_repeats, "gates": {name: gates[name] for name in names}}
        publish_json(folder / _GATES, said)
        write_manifest(folder, kind=EXPERTS)


def gates_by_text(texts: Sequence[str], taught: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Expert -> gate, in all 1: by the cosine of the catalogue's TF-IDF centroid with that of the texts that taught it.

    A word counts by the share of texts that have it, the less the more catalogues have it.
    """
    shares = {name: _shares(of) for name, of in {"": texts, **taught}.items()}
    everywhere = Counter(word for each in shares.values() for word in each)
    vectors = {
        name: {word: share * np.log(1 + len(shares) / everywhere[word]) for word, share in each.items()}
        for name, each in shares.items()
    }
    like = np.array([max(0.0, _cosine(vectors[""], vectors[name])) for name in taught]) ** _SHARPNESS
    gates: NDArray[np.float64] = like / like.sum() if like.sum() > 0 else np.full(len(taught), 1 / len(taught))
    return dict(zip(taught, gates.tolist(), strict=True))


def _shares(texts: Sequence[str]) -> dict[str, float]:
    counts = Counter(word for text in texts for word in set(text.lower().split()))
    return {word: count / len(texts) for word, count in counts.items()}


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    product = sum(value * other.get(word, 0.0) for word, value in one.items())
    lengths = [sum(value**2 for value in each.values()) ** 0.5 for each in (one, other)]
    return float(product / max(lengths[0] * lengths[1], 1e-12))
