"""The register of given IDs: what is usable, asked word by word, is what the tokenizer says of the whole ID."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from components.textid.table.taken import TakenIds
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import cuts_by_word, decode_words, encode_words, train_tokenizer
from components.textid.words.trim import trim_tokenizer

TEXTS = ["acorn soap 32 oz", "birch soap red candle", "savon à la crème", "石鹸 ハンド", "สบู่ หอม", "साबुन"] * 20
SIGNS = st.sampled_from(
    [*"abcdeoprs32àèß石鹸สบู่साबुन", " ", "  ", "A", "'", "-", "\u0301", "\u00a0", "🧼", "soap", "birch "]
)


@cache
def ours(trimmed: bool) -> PreTrainedTokenizerBase:
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=330)
    if not trimmed:
        return tokenizer
    found = trim_tokenizer(tokenizer, TEXTS[:2])
    assert found is not None
    return found[0]


@pytest.mark.parametrize("trimmed", [False, True])
@settings(max_examples=300, deadline=None)
@given(names=st.lists(st.lists(SIGNS, max_size=9).map("".join), max_size=6), max_tokens=st.integers(1, 12))
@example(names=["", " ", "soap", "soap soap", " soap", "soap  birch", "SOAP", "\u0301soap", "a\u0301"], max_tokens=12)
def test_asking_word_by_word_says_what_whole_ids_say(trimmed: bool, names: list[str], max_tokens: int) -> None:
    """Prevents an ID that is refused, or taken and does not read back, because its words were looked at alone."""
    tokenizer = ours(trimmed)
    assert cuts_by_word(tokenizer)
    names += [normalise(name) for name in names]
    encoded = encode_words(tokenizer, names)
    decoded = decode_words(tokenizer, encoded)
    expected = [
        back == name == normalise(name) and 0 < len(tokens) <= max_tokens
        for name, tokens, back in zip(names, encoded, decoded, strict=True)
    ]
    assert TakenIds(tokenizer, max_tokens=max_tokens).usable(names) == expected
