"""The IDs given so far, and how an ID becomes a free one: a word of the item's own text, or at last a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import decode_words, encode_words

# The first word of an item about which nothing is known.
_NAMELESS = "item"


class TakenIds:
    """Which words are taken, for one tokenizer and one greatest length."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, taken: Iterable[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._taken = set(taken)
        self._next_number: dict[str, int] = {}

    def __contains__(self, words: str) -> bool:
        return words in self._taken

    def take(self, words: str) -> None:
        """Give `words` away. Raises ValueError if somebody has them."""
        if words in self._taken:
            raise ValueError(f"{words!r} is taken")
        self._taken.add(words)

    def usable(self, words: Sequence[str]) -> list[bool]:
        """Whether each keeps the contract of the ID table, but for being unique: see `contract.check`.

        Two different IDs that are usable have different token ids, as these decode to the words.
        """
        encoded = encode_words(self._tokenizer, words)
        decoded = decode_words(self._tokenizer, encoded)
        return [
            bool(said) and 0 < len(tokens) <= self._max_tokens and back == said == normalise(said)
            for said, tokens, back in zip(words, encoded, decoded, strict=True)
        ]

    def distinguish(self, words: str, spare: Sequence[str]) -> str:
        """A free ID made of `words` and one of the `spare` words, the first that will do, or else a number from 2 on.

        The end of `words` gives way where the ID would be too long. Raises `BadInput` when not even a number fits.
        """
        base = words or _NAMELESS
        for addition in spare:
            if addition not in base.split():
                named = self._joined(base, addition)
                if named is not None and named not in self._taken:
                    return named
        for number in count(self._next_number.get(base, 2)):
            named = self._joined(base, str(number))
            if named is None:
                raise BadInput(
                    f"no free ID of at most {self._max_tokens} tokens is left for {words!r}",
                    where="index.max_tokens",
                    mend=f"raise it above {self._max_tokens}",
                )
            if named not in self._taken:
                self._next_number[base] = number + 1
                return named
        raise AssertionError("unreachable: numbers do not end")

    def _joined(self, base: str, addition: str) -> str | None:
        """The longest beginning of `base` that leaves room for `addition`, and `addition`; None if it fits nowhere."""
        parts = base.split()
        joined = [" ".join([*parts[:length], addition]) for length in range(len(parts), -1, -1)]
        return next((words for words, good in zip(joined, self.usable(joined), strict=True) if good), None)
