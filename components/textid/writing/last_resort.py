"""IDs of items for which nobody has a free one: what is said of them, made different by a word of their own text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.textid.table.taken import TakenIds
from components.textid.words.distinctive import ranked_words

_SPARE_WORDS = 8
_SAID = 3
"""Words that an item starts from of which nothing is said."""


def last_resort(said: Mapping[str, str], catalogue: Sequence[tuple[str, str]], taken_ids: TakenIds) -> dict[str, str]:
    """A free ID for each item of `said`, from the words that are said of it ("" for none); they are taken at once.

    catalogue: (item, text) of all items, by which the words of a text are more or less distinctive.
    """
    if not said:
        return {}
    rows = [row for row, (item, _) in enumerate(catalogue) if item in said]
    ranked = ranked_words([text for _, text in catalogue], rows, max_words=_SPARE_WORDS)
    spare = {catalogue[row][0]: own for row, own in zip(rows, ranked, strict=True)}
    asked = [(words or " ".join(spare[item][:_SAID]), spare[item]) for item, words in said.items()]
    return dict(zip(said, taken_ids.distinguish(asked), strict=True))
