"""Quality of the IDs in a table: mean length, share of words from the item's own text, distinctiveness."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from components.textid.table.id_table import IdTable


def quality(table: IdTable, own_words: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Figures of a table; `own_words` holds the words of each item's text, by item id.

    own_word_share: words of IDs that stand in their item's text, out of all.

    distinctiveness: mean over all words of all IDs of log(n / IDs with that word) / log(n): 0 if every ID had it,
    1 if no other has. Figures are rounded to six digits.
    """
    ids = [words.split() for words in table.words]
    total = sum(map(len, ids))
    if not total:
        return {"mean_tokens": 0.0, "mean_words": 0.0, "own_word_share": 0.0, "distinctiveness": 0.0}
    holders = Counter(word for words in ids for word in set(words))
    own = sum(word in own_words[item] for item, words in zip(table.item_ids, ids, strict=True) for word in words)
    scale = math.log(len(ids)) or 1.0
    distinct = sum(math.log(len(ids) / holders[word]) / scale for words in ids for word in words)
    return {
        "mean_tokens": round(sum(map(len, table.token_ids)) / len(table), 6),
        "mean_words": round(total / len(table), 6),
        "own_word_share": round(own / total, 6),
        "distinctiveness": round(distinct / total, 6),
    }
