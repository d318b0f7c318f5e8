"""Random words as IDs: the control that shows what the meaning of an ID is worth, its form being equal.

words = random_words(tokenizer, item_ids, texts, seed=17, max_tokens=10)
table, report = adopt(words, tokenizer, item_ids, texts, max_tokens=10)
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Sequence

from transformers import PreTrainedTokenizerBase

from components.textid.words.distinctive import fit
from components.textid.words.normal import split

WORDS = 5
"""Words of an ID, as many as a cold start teaches; fewer where they do not fit."""
_ATTEMPTS = 8


def random_words(
    tokenizer: PreTrainedTokenizerBase,
    item_ids: Sequence[str],
    texts: Sequence[str],
    *,
    seed: int,
    max_tokens: int,
    taken: Collection[str] = (),
) -> dict[str, str]:
    """Item id -> words drawn from the texts of the whole catalogue, all of them different from each other and `taken`.

    A draw is a function of seed, item id and vocabulary, so the order of the rows does not matter. Of two equal ones
    the larger item id draws again; an item whose every draw was taken is left out (a catalogue of a few words).
    """
    vocabulary = drawn_from(texts)
    used, named, left = set(taken), dict[str, str](), sorted(item_ids)
    for attempt in range(_ATTEMPTS):
        draws = [_draw(vocabulary, f"{seed}:{item}:{attempt}") for item in left]
        for item, words in zip(left, fit(tokenizer, draws, max_tokens=max_tokens), strict=True):
            if words and words not in used:
                named[item] = words
                used.add(words)
        left = [item for item in left if item not in named]
    return named


def drawn_from(texts: Sequence[str]) -> list[str]:
    """The words of at least two texts, sorted: of one it is a name or a typing error. All words if few are left."""
    holders = Counter(word for text in texts for word in set(split(text)))
    shared = sorted(word for word, count in holders.items() if count > 1)
    return shared if len(shared) >= 2 * WORDS else sorted(holders)


def _draw(vocabulary: Sequence[str], key: str) -> str:
    draw = random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()))
    return " ".join(draw.sample(vocabulary, min(WORDS, len(vocabulary))))
