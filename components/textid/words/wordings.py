"""Other wordings of the IDs of a catalogue: words of an item's own ID and text alone, never longer, and nobody's ID.

others = other_wordings(table, own, tokenizer, seed=17)
others.tokens.row(number)                                # for number in range(*others.offsets[item : item + 2])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from components.storage.ragged import Ints, Ragged
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import encode_words

MOST = 6
"""Wordings of an item that are tried."""
_LEFT_OUT = 0.35
"""Chance of each word of an ID to be left out."""


@dataclass(frozen=True)
class OtherWordings:
    """Those of item i are the rows offsets[i] to offsets[i + 1]; it may have none."""

    words: list[str]
    tokens: Ragged
    offsets: Ints
    """[items + 1]"""


def other_wordings(
    words: list[str], token_ids: Ragged, own: OwnWords, tokenizer: PreTrainedTokenizerBase, *, seed: int
) -> OtherWordings:
    """`words` and `token_ids`: the IDs, in the order of `own`.

    A wording is an ID with some of its words left out, in every other one with words of the item's text in their
    places. It has no more tokens than the ID, so that prompts keep their lengths.
    """
    random, taken = np.random.default_rng(seed), set(words)
    proposed: list[tuple[int, str]] = []
    for item, said in enumerate(words):
        parts = said.split()
        further = [own.words[number] for number in np.unique(own.documents.row(item))]
        further = [word for word in further if word not in parts]
        found: dict[str, None] = {}
        for number in range(MOST):
            left_out = random.random(len(parts)) < _LEFT_OUT
            left_out[random.integers(len(parts))] = True
            fill = list(random.choice(further, min(len(further), left_out.sum()), replace=False)) if number % 2 else []
            kept = [
                fill.pop() if out and fill else None if out else part for part, out in zip(parts, left_out, strict=True)
            ]
            found[" ".join(str(word) for word in kept if word)] = None
        proposed += [(item, text) for text in found if text and text not in taken]
    encoded = encode_words(tokenizer, [text for _, text in proposed])
    most = token_ids.lengths
    fitting = [
        (item, text, row) for (item, text), row in zip(proposed, encoded, strict=True) if 0 < len(row) <= most[item]
    ]
    counts = np.bincount([item for item, _, _ in fitting], minlength=len(words)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return OtherWordings([text for _, text, _ in fitting], Ragged.of([row for _, _, row in fitting]), offsets)
