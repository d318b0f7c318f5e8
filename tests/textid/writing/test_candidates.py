"""Which tokens a generator may write."""

from __future__ import annotations

import pytest

from components.textid.words.tokenizer import encode_words
from components.textid.writing.candidates import allowed_tokens
from tests.training.pretrained import byte_level, spaced

NAMES = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [(byte_level(["crème brûlée!"] * 9, **NAMES), "crème brûlée"), (spaced(**NAMES), "black brush")],
    ids=["byte-level", "spaced"],
)
def test_letters_may_be_written_and_nothing_else(tokenizer, words: str) -> None:  # type: ignore[no-untyped-def]
    """Prevents a BART that cannot write "crème": its tokens stand for bytes, and half of an "è" is a quotation mark."""
    allowed = dict(zip(tokenizer.convert_ids_to_tokens(range(len(tokenizer))), allowed_tokens(tokenizer), strict=True))
    (tokens,) = encode_words(tokenizer, [words])
    assert all(allowed[piece] for piece in tokenizer.convert_ids_to_tokens(tokens))
    # Marks, special tokens, and the first byte of a letter, which says nothing alone.
    assert not any(allowed.get(piece) for piece in ("!", "<pad>", "</s>", "Ã", "Ġ", "▁", "<0xC3>"))
