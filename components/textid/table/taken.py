"""The set of taken IDs, and how an ID is made unique: by a further word of the item's text, the order of its words or,
at last, a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import count, islice, permutations
from typing import TYPE_CHECKING

from components.errors import BadInput
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import cuts_by_word, decode_words, encode_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAMELESS = "item"
"""The ID of an item without words begins with this."""
_ORDERS = 24
"""Orders of its words that are tried before a number."""


@dataclass(frozen=True)
class Asked:
    """An item whose ID is taken, or that has none."""

    words: str
    """What is said of it; "" for nothing."""
    spare: Sequence[str]
    """Further words of its text, the best first; some may be said already."""
    kept: Set[str] = frozenset()
    """Words that give way last."""

    @property
    def unsaid(self) -> list[str]:
        """The spare words that are not said."""
        said = self.words.split()
        return [word for word in self.spare if word not in said]

    def joined(self, addition: str) -> list[str]:
        """Its words and `addition`, then fewer and fewer of them: the last goes first, those of `kept` at the end."""
        parts, found = self.words.split(), []
        while parts:
            found.append(" ".join([*parts, addition]))
            loose = [place for place, word in enumerate(parts) if word not in self.kept]
            del parts[loose[-1] if loose else -1]
        return [*found, addition]

    def orders(self) -> list[str]:
        """Its words in other orders, the ends changed first."""
        return [" ".join(words) for words in islice(permutations(self.words.split()), 1, _ORDERS)]


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

    def distinguish(self, asked: Sequence[Asked]) -> list[str]:
        """Take a free ID for each: its words with a spare one, in another order, or with a number from 2 on.

        The end of the words gives way where the ID would be too long. Raises `BadInput` when not even a number fits.
        """
        asked = [replace(each, words=each.words or NAMELESS) for each in asked]
        # The first nearly always fits, and one call of the tokenizer for all takes a tenth of the time.
        likely = [joined for each in asked for word in each.unsaid[:1] for joined in each.joined(word)]
        good = dict(zip(likely, self.usable(likely), strict=True))
        named = []
        for each in asked:
            named.append(self._distinguished(each, good))
            self.take(named[-1])
        return named

    def _distinguished(self, asked: Asked, good: Mapping[str, bool]) -> str:
        for word in asked.unsaid:
            named = self._fitting(asked, word, good)
            if named is not None and named not in self._taken:
                return named
        orders = [words for words in asked.orders() if words not in self._taken]
        for named, usable in zip(orders, self.usable(orders), strict=True):
            if usable:
                return named
        for number in count(self._next_number.get(asked.words, 2)):
            named = self._fitting(asked, str(number), good)
            if named is None:
                raise BadInput(
                    f"no free ID of at most {self._max_tokens} tokens is left for {asked.words!r}",
                    where="index.max_tokens",
                    mend=f"raise it above {self._max_tokens}",
                )
            if named not in self._taken:
                self._next_number[asked.words] = number + 1
                return named
        raise AssertionError("unreachable: numbers do not end")

    def _fitting(self, asked: Asked, addition: str, good: Mapping[str, bool]) -> str | None:
        """As many of its words as leave room for `addition`, and `addition`; None if it fits nowhere.

        good: what is known of some of them.
        """
        joined = asked.joined(addition)
        if joined[0] not in good:
            good = dict(zip(joined, self.usable(joined), strict=True))
        return next((words for words in joined if good[words]), None)
