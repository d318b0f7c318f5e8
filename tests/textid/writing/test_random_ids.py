"""Random words as IDs: which words they are drawn from."""

from __future__ import annotations

import itertools

from components.textid.writing.random_ids import drawn_from

COLOURS, TREES = ("red", "blue", "oz", "soap", "cream"), ("birch", "acorn", "cedar", "elm", "oak")


def test_words_of_one_text_are_drawn_only_where_few_are_shared() -> None:
    """Prevents a control that is easier than the IDs it is compared with: a typing error gives its item away."""
    texts = [" ".join(words) for words in itertools.product(COLOURS, TREES)]
    assert drawn_from([*texts, "typo red"]) == sorted([*COLOURS, *TREES])
    assert drawn_from(["birch soap", "red soap"]) == ["birch", "red", "soap"]
