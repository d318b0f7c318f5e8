"""The item graph and text by a fixed formula, a baseline without knobs: score = item graph / .3 + .3 * summed cosines.

The text is TF-IDF of the words of title, brand, categories and attributes; the cosines to the history's items count
0.6^age. As a sum it is the item graph + .09 * the cosines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import NDArray

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.voices import item_graph
from components.voices.graph_text import GraphText
from components.voices.learned import Learned

# Fixed, so that its figures stay comparable.
FORMULA = settings.GraphText(graph=item_graph.FORMULA, text=settings.Text(), text_weight=0.09)


class ItemGraphText(GraphText):
    """The sum of a fixed formula, which knows no days."""

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any = None) -> None:
        """`chosen`: the formula, whatever stands there: within a hybrid or a sum it has no settings."""
        super().__init__(catalogue, arrays, FORMULA)

    @classmethod
    def build(cls, learned: Learned, chosen: Any = None) -> Self:
        return super().build(learned, FORMULA)
