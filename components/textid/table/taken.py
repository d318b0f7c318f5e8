"""The set of taken IDs, and how an ID is made unique: with a further word of the item's text or, at last, a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import cuts_by_word, decode_words, encode_words

# The ID of an item without words begins with this.
_NAMELESS = "item"


class TakenIds:
    """The IDs that are taken, for one tokenizer and one greatest length (tokens)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, taken: Iterable[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._taken = set(taken)
        self._next_number: dict[str, int] = {}
        self._by_word = cuts_by_word(tokenizer)
        self._lengths: dict[str, int | None] = {}

    def __contains__(self, words: str) -> bool:
        return words in self._taken

    def take(self, words: str) -> None:
        """Add an ID. Raises ValueError if it is taken."""
        if words in self._taken:
            raise ValueError(f"{words!r} is taken")
        self._taken.add(words)

    def usable(self, words: Sequence[str]) -> list[bool]:
        """Whether each ID keeps the contract of the ID table but for uniqueness (`contract.check`).

        Two different usable IDs have different token ids, as these decode to the words.
        """
        lengths = self._lengths_by_word(words) if self._by_word else self._read_back(words)
        return [length is not None and 0 < length <= self._max_tokens for length in lengths]

    def _read_back(self, words: Sequence[str]) -> list[int | None]:
        """Token count of each ID; None where it is no normal form, or its tokens do not decode to it."""
        encoded = encode_words(self._tokenizer, words)
        decoded = decode_words(self._tokenizer, encoded)
        return [
            len(tokens) if back == text == normalise(text) else None
            for text, tokens, back in zip(words, encoded, decoded, strict=True)
        ]

    def _lengths_by_word(self, words: Sequence[str]) -> list[int | None]:
        """The same from the token counts of single words: a catalogue has few, and each is tokenised once."""
        parts = [text.split() for text in words]
        fresh = list({word for found in parts for word in found if word not in self._lengths})
        self._lengths.update(zip(fresh, self._read_back(fresh), strict=True))
        lengths: list[int | None] = []
        for text, found in zip(words, parts, strict=True):
            known = [length for word in found if (length := self._lengths[word]) is not None]
            lengths.append(sum(known) if len(known) == len(found) and " ".join(found) == text else None)
        return lengths

    def distinguish(self, asked: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
        """Take a free ID for each (words, spare): `words` with the first usable spare word, or with a number from 2 on.

        The end of `words` gives way where the ID would be too long. Raises `BadInput` when not even a number fits.
        """
        bases = [words or _NAMELESS for words, _ in asked]
        spares = [
            [word for word in spare if word not in base.split()] for base, (_, spare) in zip(bases, asked, strict=True)
        ]
        # The first nearly always fits, and one call of the tokenizer for all takes a tenth of the time.
        likely = [joined for base, spare in zip(bases, spares, strict=True) for joined in _joins(base, *spare[:1])]
        good = dict(zip(likely, self.usable(likely), strict=True))
        named = []
        for base, spare in zip(bases, spares, strict=True):
            named.append(self._distinguished(base, spare, good))
            self.take(named[-1])
        return named

    def _distinguished(self, base: str, spare: Sequence[str], good: Mapping[str, bool]) -> str:
        for addition in spare:
            named = self._joined(base, addition, good)
            if named is not None and named not in self._taken:
                return named
        for number in count(self._next_number.get(base, 2)):
            named = self._joined(base, str(number), good)
            if named is None:
                raise BadInput(
                    f"no free ID of at most {self._max_tokens} tokens is left for {base!r}",
                    where="index.max_tokens",
                    mend=f"raise it above {self._max_tokens}",
                )
            if named not in self._taken:
                self._next_number[base] = number + 1
                return named
        raise AssertionError("unreachable: numbers do not end")

    def _joined(self, base: str, addition: str, good: Mapping[str, bool]) -> str | None:
        """The longest beginning of `base` that leaves room for `addition`, and `addition`; None if it fits nowhere.

        good: what is known of some of them.
        """
        joined = _joins(base, addition)
        if joined[0] not in good:
            good = dict(zip(joined, self.usable(joined), strict=True))
        return next((words for words in joined if good[words]), None)


def _joins(base: str, *additions: str) -> list[str]:
    """Every beginning of `base`, the longest first and none last, with each of the additions."""
    parts = base.split()
    return [" ".join([*parts[:end], addition]) for addition in additions for end in range(len(parts), -1, -1)]
