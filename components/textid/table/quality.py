"""How good the IDs of a table are, beyond being unique."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from components.textid.table.id_table import IdTable


def quality(table: IdTable, own_words: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Mean length, how much of an ID its item's text holds, and how much its words say. own_words: by item id.

    distinctiveness: mean over all words of all IDs of log(n / IDs with that word) / log(n): 0 if every ID had it,
    1 if no other has. Figures are rounded to six digits.
    """
    said = [words.split() for words in table.words]
    total = sum(map(len, said))
    if not total:
        return {"mean_tokens": 0.0, "mean_words": 0.0, "own_word_share": 0.0, "distinctiveness": 0.0}
    holders = Counter(word for words in said for word in set(words))
    own = sum(word in own_words[item] for item, words in zip(table.item_ids, said, strict=True) for word in words)
    scale = math.log(len(said)) or 1.0
    distinct = sum(math.log(len(said) / holders[word]) / scale for words in said for word in words)
    return {
        "mean_tokens": round(sum(map(len, table.token_ids)) / len(table), 6),
        "mean_words": round(total / len(table), 6),
        "own_word_share": round(own / total, 6),
        "distinctiveness": round(distinct / total, 6),
    }
