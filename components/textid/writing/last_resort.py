"""IDs of items for which nobody has a free one: what is said of them, made different by a word of their own text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.textid.table.taken import Asked, TakenIds
from components.textid.words.distinctive import ranked_words
from components.textid.words.own import OwnWords
from components.textid.words.twins import Twins

_SPARE_WORDS = 8
_SAID = 3
"""Words that an item starts from of which nothing is said."""


def last_resort(
    said: Mapping[str, str], texts: Sequence[str], own: OwnWords, twins: Twins, taken_ids: TakenIds
) -> dict[str, str]:
    """A free ID for each item of `said`, from the words that are said of it ("" for none); they are taken at once.

    texts: of all items of `own`, by which the words of a text are more or less distinctive. A word that sets the item
    apart from its near twins is added where none is said, and stays.
    """
    if not said:
        return {}
    rows = [own.row_of[item] for item in said]
    ranked = ranked_words(texts, rows, max_words=_SPARE_WORDS)
    asked = [
        _asked(words or " ".join(spare[:_SAID]), spare, [_words(own, each) for each in twins.apart.get(row, ())])
        for words, row, spare in zip(said.values(), rows, ranked, strict=True)
    ]
    return dict(zip(said, taken_ids.distinguish(asked), strict=True))


def _asked(words: str, spare: list[str], demands: list[list[str]]) -> Asked:
    """`words` with what sets the item apart."""
    parts = words.split()
    for demand in demands:
        if not set(demand) & set(parts):
            parts.append(next((word for word in spare if word in demand), demand[0]))
    return Asked(" ".join(parts), spare, frozenset(word for demand in demands for word in demand))


def _words(own: OwnWords, numbers: frozenset[int]) -> list[str]:
    return [own.words[number] for number in sorted(numbers)]
