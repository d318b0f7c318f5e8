"""User IDs are made of what lies before the target, the same way wherever a prompt is built."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.recommender.prompts.user_ids import WORDS, UserIds
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable

NAMES = ["black soap", "black towel", "honey soap", "lemon cream", "sonic brush mia"]


def user_ids(tokenizer: Any) -> UserIds:
    table = IdTable.from_words(tokenizer, {f"i{number}": name for number, name in enumerate(NAMES)})
    return UserIds(table, tokenizer)


def words(tokenizer: Any, tokens: tuple[int, ...]) -> list[str]:
    return tokenizer.convert_ids_to_tokens(list(tokens))


def test_words_most_items_share_come_first(tokenizer: Any) -> None:
    """Known answer: soap and black stand in two of three items; soap was seen later."""
    found = words(tokenizer, user_ids(tokenizer).of([0, 1, 2]))
    assert found == ["soap", "black", "honey", "towel"]
    assert len(found) == WORDS


def test_no_history_no_user_id(tokenizer: Any) -> None:
    assert user_ids(tokenizer).of([]) == ()


@given(histories=st.lists(st.lists(st.integers(0, 4), max_size=8), max_size=6))
def test_each_place_sees_its_own_past_alone(tokenizer: Any, histories: list[list[int]]) -> None:
    """Prevents the released code's leak: the ID in the prompt of a target is that of the items before it alone."""
    users = user_ids(tokenizer)
    expected = [users.of(history[:place]) for history in histories for place in range(len(history))]
    assert users.before(Ragged.of(histories)) == expected
