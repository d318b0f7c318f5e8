"""Brands and categories of items as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.voices.learned import Learned

KINDS = ("brand", "leaf", "parent")


def codes(learned: Learned) -> NDArray[np.int32]:
    """[kinds, items] a number for each brand, deepest category and the one above it; -1 where an item has none."""
    items = len(learned.catalogue.table)
    brands = learned.texts.get("brand", [None] * items)
    paths = [path or [] for path in learned.texts.get("categories", [None] * items)]
    parents = [tuple(path[:-1]) if len(path) > 1 else None for path in paths]
    leaves = [tuple(path) if path else None for path in paths]
    return np.stack([_numbered(values) for values in (brands, leaves, parents)])


def _numbered(values: Sequence[Any]) -> NDArray[np.int32]:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) if each else -1 for each in values], np.int32)
