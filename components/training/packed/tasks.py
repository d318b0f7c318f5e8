"""The tasks of a training that learns to adapt: each catalogue's users, in clusters by the texts of what they took.

    mixture = tasks_of(data, texts, MetaLearning(), seed=17)         # mixture.numbers [users]: the task of each

A cluster of users is as near to another shop as one catalogue offers: other words, other habits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array, diags_array

from components.recommender.batches.mixture import Mixture
from components.sampling import derive
from components.settings.train import MetaLearning
from components.storage.ragged import Ragged
from components.training.packed.dataset import Dataset
from components.training.packed.texts import ItemTexts

_NUMBERS = 32
"""Of a user's vector: likeness of texts to within some hundredths, which clusters need no better."""
_ITERATIONS = 20


def tasks_of(data: Dataset, texts: ItemTexts, chosen: MetaLearning, *, seed: int) -> Mixture:
    """The task of each training history; a task weighs as its catalogue does."""
    shops, histories = data.shop_numbers(data.histories), data.histories
    users = _users(histories, _items(texts.tokens, seed))
    numbers = np.zeros(len(histories), np.int64)
    for shop in range(len(data.shops)):
        own = np.flatnonzero(shops == shop)
        clusters = min(chosen.clusters, len(own))
        place = np.zeros(len(own), np.int64)
        if clusters > 1:
            random = np.random.default_rng(derive(seed, "tasks", shop))
            place = kmeans2(users[own], clusters, iter=_ITERATIONS, minit="++", rng=random, missing="warn")[1]
        numbers[own] = shop * chosen.clusters + place
    weights = [shop.weight for shop in data.shops for _ in range(chosen.clusters)]
    return Mixture(numbers, weights)


def _items(tokens: Ragged, seed: int) -> NDArray[np.float64]:
    """[items, _NUMBERS]: tokens of each text, the rarer the heavier, projected at random, of length 1."""
    size = int(tokens.values.max(initial=0)) + 1
    counts = csr_array((np.ones(len(tokens.values)), tokens.values, tokens.offsets), shape=(len(tokens), size))
    there = np.bincount(tokens.values, minlength=size)
    rare = np.log((1 + there.sum()) / (1 + there))
    weighted = counts @ diags_array(rare)
    projected = weighted @ np.random.default_rng(derive(seed, "projection")).standard_normal((size, _NUMBERS))
    found: NDArray[np.float64] = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-9)
    return found


def _users(histories: Ragged, items: NDArray[np.float64]) -> NDArray[np.float64]:
    """[users, _NUMBERS]: the mean of what each took; 0 of an empty history."""
    took = csr_array(
        (np.ones(len(histories.values)), np.asarray(histories.values), np.asarray(histories.offsets)),
        shape=(len(histories), len(items)),
    )
    found: NDArray[np.float64] = took @ items / np.maximum(histories.lengths, 1)[:, None]
    return found
