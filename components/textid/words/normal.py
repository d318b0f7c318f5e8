"""Normalise text to lower-case words: the only form that a textual ID may have.

    normalise("Crabtree & Evelyn's  Hand-Cream, 3.4oz")  ->  "crabtree evelyns hand cream 3 4oz"

Lower case letters and digits of any script, with their combining marks, separated by single spaces.
"""

from __future__ import annotations

import unicodedata

# Dropped inside a word, so that "women's" stays one word; every other character that is no letter or digit separates.
_JOINERS = frozenset("'’‘ʼ＇`´")


class _Classes(dict[int, int | None]):
    """Table for `str.translate`: a character -> itself, a space or nothing; filled when a character first occurs."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        if category[0] in "LNM":
            kept: int | None = code
        elif category == "Cf" or chr(code) in _JOINERS:  # soft hyphens, zero-width joiners, apostrophes
            kept = None
        else:
            kept = ord(" ")
        self[code] = kept
        return kept


_CLASSES = _Classes()


def normalise(text: str) -> str:
    """`text` as words only; "" where it holds none. Idempotent: normalise(normalise(x)) == normalise(x).

    NFKC, so that full-width, ligature and superscript forms become the plain ones; lower case; letters, digits and
    the combining marks that follow them are kept (without its vowel signs a Hindi or Thai word is not that word).
    """
    if text.isascii():
        return " ".join(text.lower().translate(_CLASSES).split())
    while True:  # lower case and dropped joiners can make new compositions: at most a few rounds
        words = " ".join(_well_formed(unicodedata.normalize("NFKC", text).lower().translate(_CLASSES)))
        if words == text:
            return words
        text = words


def split(text: str) -> list[str]:
    """The words of `text`, normalised, in order."""
    return normalise(text).split()


def _well_formed(text: str) -> list[str]:
    """Words of `text` without combining marks that have no letter to stand on."""
    words = (_from_first_letter(word) for word in text.split())
    return [word for word in words if word]


def _from_first_letter(word: str) -> str:
    for position, character in enumerate(word):
        if not unicodedata.category(character).startswith("M"):
            return word[position:]
    return ""
