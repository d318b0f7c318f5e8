"""Quality of the IDs in a table: length, distinctiveness, whether they say what is true, and tell near twins apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from components.textid.table.id_table import IdTable
from components.textid.table.taken import NAMELESS
from components.textid.words.own import OwnWords
from components.textid.words.twins import Twins

_TOLD = 0.95
"""Near twins that should be told apart."""


def quality(table: IdTable, own: OwnWords, twins: Twins) -> dict[str, Any]:
    """Figures of a table, for a catalogue that holds its items. Shares are 0 to 1, rounded to six digits.

    own_word_share: words of IDs that stand in their item's text, out of all.

    false_words, false_id_share: words that do not, and IDs that hold one. The number that tells items of equal words
    apart says nothing of them and is not counted here but in `numbered`.

    distinctiveness: mean over all words of all IDs of log(n / IDs with that word) / log(n): 0 if every ID had it,
    1 if no other has.

    near_twins, distinguished: items with a near twin from which their text can be told (`words/twins.py`), and those of
    them whose ID has a word that the twin's text lacks, for all such twins (1 where there are none).
    """
    ids = [words.split() for words in table.words]
    total = sum(map(len, ids))
    holders = Counter(word for words in ids for word in set(words))
    texts = [own.of_item(item) or {NAMELESS} for item in table.item_ids]
    foreign = [[word for word in words if word not in text] for words, text in zip(ids, texts, strict=True)]
    numbered = _numbered(ids, foreign)
    false = [len(words) - (row in numbered) for row, words in enumerate(foreign)]
    scale = math.log(max(2, len(ids)))
    distinct = sum(math.log(len(ids) / holders[word]) / scale for words in ids for word in words)
    told = _told(table, own, twins)
    return {
        "mean_tokens": _share(sum(map(len, table.token_ids)), len(ids)),
        "mean_words": _share(total, len(ids)),
        "own_word_share": _share(total - sum(map(len, foreign)), total),
        "false_words": sum(false),
        "false_id_share": _share(sum(count > 0 for count in false), len(ids)),
        "numbered": len(numbered),
        "distinctiveness": _share(distinct, total),
        "near_twins": len(told),
        "distinguished": _share(sum(told), len(told)) if told else 1.0,
    }


def own_words(table: IdTable, own: OwnWords) -> dict[str, float]:
    """`share`: words of IDs that stand in their item's text, out of all, as in `quality`. `by_chance`: the same were
    every ID that of the next item in the table, whose order `clean` draws: what a shuffled table has."""
    texts = [own.of_item(item) or {NAMELESS} for item in table.item_ids]
    ids = [words.split() for words in table.words]
    total = sum(map(len, ids))

    def share(of: Sequence[frozenset[str] | set[str]]) -> float:
        return _share(sum(word in text for words, text in zip(ids, of, strict=True) for word in words), total)

    return {"share": share(texts), "by_chance": share([*texts[1:], *texts[:1]])}


def warnings(figures: Mapping[str, Any]) -> list[str]:
    """What a person should know of a table before it is used, from the figures of `quality`."""
    found = []
    if figures["false_words"]:
        found.append(
            f"{figures['false_id_share']:.1%} of the IDs hold a word that their item's text does not have "
            f"({figures['false_words']} words): they were imported, written with index.faithful: false, or the texts "
            "are others now"
        )
    if figures["distinguished"] < _TOLD:
        found.append(
            f"of {figures['near_twins']} items whose text differs from another's in one to three words, "
            f"{figures['distinguished']:.1%} have an ID with a word that the other's text lacks"
        )
    return found


def _share(part: float, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _told(table: IdTable, own: OwnWords, twins: Twins) -> list[bool]:
    """For each item with a near twin from which its text can be told, whether its ID does."""
    number = {word: each for each, word in enumerate(own.words)}
    rows = [(own.row_of[item], words) for item, words in zip(table.item_ids, table.words, strict=True)]
    return [
        twins.told(row, frozenset(number[word] for word in words.split() if word in number))
        for row, words in rows
        if twins.apart.get(row)
    ]


def _numbered(ids: Sequence[list[str]], foreign: Sequence[list[str]]) -> set[int]:
    """Rows whose one foreign word is a number at the end that only counts.

    `TakenIds` counts IDs of one beginning from 2 on: a higher number than there are such IDs is none of these.
    """
    counting = {
        row: tuple(words[:-1])
        for row, words in enumerate(ids)
        if words and foreign[row] == words[-1:] and words[-1].isdecimal()
    }
    if not counting:
        return set()
    beginnings = set(counting.values())
    alike = Counter(
        tuple(words[:end]) for words in ids for end in range(len(words) + 1) if tuple(words[:end]) in beginnings
    )
    return {row for row, beginning in counting.items() if 2 <= int(ids[row][-1]) <= alike[beginning] + 1}
