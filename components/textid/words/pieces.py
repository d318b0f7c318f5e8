"""Words as a tokenizer writes them: as the first of an ID and behind others, which some tokenizers write otherwise.

tokens, lengths = in_pieces(tokenizer, ["soap", "60 ml"], 10)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from components.textid.words.tokenizer import cuts_by_word, decode_words, encode_words

_BEFORE = "a"
"""The word behind which others are tried."""

Numbers = NDArray[np.int64]


def in_pieces(tokenizer: PreTrainedTokenizerBase, spoken: Sequence[str], longest: int) -> tuple[Numbers, Numbers]:
    """Tokens [n + 1, 2, longest] of words as the first of an ID and later in it, -1 as padding, and counts [n + 1, 2].

    The count is 0 for what does not read back or is too long. The last row has none.
    """
    first = encode_words(tokenizer, spoken)
    later = first if cuts_by_word(tokenizer) else _behind(tokenizer, spoken)
    tokens = np.full((len(spoken) + 1, 2, longest), -1, dtype=np.int64)
    lengths = np.zeros((len(spoken) + 1, 2), dtype=np.int64)
    ways = (first, decode_words(tokenizer, first)), (later, _read_behind(tokenizer, later))
    for which, (rows, read) in enumerate(ways):
        for entry, (row, said, meant) in enumerate(zip(rows, read, spoken, strict=True)):
            if said == meant and 0 < len(row) <= longest:
                tokens[entry, which, : len(row)] = row
                lengths[entry, which] = len(row)
    return tokens, lengths


def _behind(tokenizer: PreTrainedTokenizerBase, spoken: Sequence[str]) -> list[tuple[int, ...]]:
    """The tokens of words that stand behind another; () where they cannot be told from that one's."""
    (before,) = encode_words(tokenizer, [_BEFORE])
    rows = encode_words(tokenizer, [f"{_BEFORE} {words}" for words in spoken])
    return [row[len(before) :] if row[: len(before)] == before else () for row in rows]


def _read_behind(tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[int, ...]]) -> list[str]:
    """What tokens say behind another word."""
    (before,) = encode_words(tokenizer, [_BEFORE])
    read = decode_words(tokenizer, [(*before, *row) for row in rows])
    return [said.removeprefix(f"{_BEFORE} ") for said in read]
