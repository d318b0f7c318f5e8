"""The user ID, where `train.user_id` is on: a few words that stand for a user in the prompt (IDGenRec, section 3.2).

    users = UserIds(table, tokenizer)
    users.of([3, 17, 4])                     # token ids of the words, from the items before the target alone

The released code writes it from the whole sequence, test target included, which is where its leak was. Here the ID of a
prompt is a function of the items before that prompt's target, so no target can be in it, in training or later; the
same function serves training, validation, evaluation and the served model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import encode_words

WORDS = 4
"""Words of a user ID: enough for a brand and what it is bought for."""


class UserIds:
    """User IDs from the words of the items' IDs: those that most of a user's items share; on ties the newest first."""

    def __init__(self, table: IdTable, tokenizer: Any) -> None:
        self._words = [tuple(dict.fromkeys(words.split())) for words in table.words]
        vocabulary = sorted({word for words in self._words for word in words})
        self._tokens = dict(zip(vocabulary, encode_words(tokenizer, vocabulary), strict=True))

    def of(self, items: Sequence[int]) -> tuple[int, ...]:
        """Token ids of the user ID of a history of item numbers, oldest first; () for an empty history."""
        counts: Counter[str] = Counter()
        last: dict[str, int] = {}
        for place, item in enumerate(items):
            self._read(counts, last, place, item)
        return self._best(counts, last)

    def before(self, histories: Ragged) -> list[tuple[int, ...]]:
        """For every place in `histories.values`, the user ID of the items before it in the same history.

        The same as `of` on every prefix, read once.
        """
        found: list[tuple[int, ...]] = []
        for history in histories:
            counts: Counter[str] = Counter()
            last: dict[str, int] = {}
            for place, item in enumerate(history.tolist()):
                found.append(self._best(counts, last))
                self._read(counts, last, place, item)
        return found

    def _read(self, counts: Counter[str], last: dict[str, int], place: int, item: int) -> None:
        counts.update(self._words[item])
        last.update(dict.fromkeys(self._words[item], place))

    def _best(self, counts: Counter[str], last: dict[str, int]) -> tuple[int, ...]:
        best = sorted(counts, key=lambda word: (-counts[word], -last[word], word))[:WORDS]
        return tuple(token for word in best for token in self._tokens[word])
