"""Words only: the normal form that the whole contract of the ID table stands on."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.textid.words.normal import normalise, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Crabtree & Evelyn's  Hand-Cream, 3.4oz", "crabtree evelyns hand cream 3 4oz"),
        ("L’Oréal", "loréal"),
        ("ＦＵＬＬ－ｗｉｄｔｈ ﬁne x²", "full width fine x2"),
        ("  --  ", ""),
        ("_under_score_", "under score"),
        ("हिन्दी साबुन", "हिन्दी साबुन"),
        ("soft\u00adhyphen", "softhyphen"),
        ("新しい、化粧水", "新しい 化粧水"),
    ],
)
def test_keeps_what_a_person_would_call_a_word(text: str, words: str) -> None:
    """Prevents words torn at apostrophes and scripts that lose their vowel signs."""
    assert normalise(text) == words


@given(st.text())
def test_is_idempotent_and_holds_words_only(text: str) -> None:
    """Prevents an ID that changes when it is normalised again (lower-casing U+0130 makes two characters of one)."""
    words = normalise(text)
    assert normalise(words) == words
    assert all(unicodedata.category(character)[0] in "LNM" or character == " " for character in words)
    assert " ".join(split(text)) == words


@given(st.text(alphabet=st.characters(max_codepoint=0x7F)))
def test_the_ascii_path_equals_the_general_path(text: str) -> None:
    """Prevents the fast path from drifting: one non-ASCII word beside it must change nothing."""
    assert normalise(f"{text} é") == f"{normalise(text)} é".strip()
