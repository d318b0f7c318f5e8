"""IDs, prompts and comparisons that the tests of decoding share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from components.recommender.search.beams import Hits
from tests.recommender.references import Answer

VOCABULARY = 24
MODES = ["vocabulary", "trie"]


def make_ids(count: int, seed: int = 0, longest: int = 6, tokens: int = 8) -> list[tuple[int, ...]]:
    """Random IDs with shared beginnings and middles, prefixes of each other, and long tails."""
    random = np.random.default_rng(seed)
    found: set[tuple[int, ...]] = set()
    while len(found) < count:
        found.add(tuple((2 + random.integers(tokens, size=random.integers(1, longest))).tolist()))
    ids = sorted(found)
    return [ids[place] for place in random.permutation(count)]


def make_prompts(users: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    mask = (torch.arange(10) < torch.randint(3, 11, (users, 1))).long()
    return torch.randint(2, VOCABULARY, (users, 10)) * mask, mask


def as_answer(hits: Hits) -> Answer:
    rows = zip(hits.items.tolist(), hits.scores.tolist(), strict=True)
    return [[(item, score) for item, score in zip(*row, strict=True) if item >= 0] for row in rows]


def assert_same(found: Answer, expected: Answer, tolerance: float = 1e-4) -> None:
    assert [[item for item, _ in row] for row in found] == [[item for item, _ in row] for row in expected]
    # A negative length penalty gives scores of hundreds, of which float32 holds fewer decimals.
    near = {"abs": tolerance, "rel": min(tolerance, 1e-5)}
    for row, wanted in zip(found, expected, strict=True):
        assert [score for _, score in row] == pytest.approx([score for _, score in wanted], **near)
