"""What an item's text says: its words without the labels of the template."""

from __future__ import annotations

from components.textid.words.own import OwnWords

TEXTS = [
    "title: Dutch Oven, Grey, brand: Café Lunette",
    "title: Brand New Soap, brand: Brand",
    "title: Notes: a Log",
    "",
]


def test_labels_of_the_template_are_no_words_of_an_item() -> None:
    """Prevents an ID "title soap brand"; a word of the text stays although a label is spelt like it."""
    own = OwnWords.of(["a", "b", "c", "d"], TEXTS)
    assert own.of_item("a") == {"dutch", "oven", "grey", "café", "lunette"}
    assert own.of_item("b") == {"brand", "new", "soap"}
    assert own.of_item("d") == frozenset()
    assert [own.words[number] for number in own.documents.row(1)] == ["brand", "new", "soap", "brand"]


def test_a_colon_in_one_title_makes_no_label() -> None:
    """Prevents words that an item may not say because of how its title is set: "Notes: a Log"."""
    own = OwnWords.of([str(row) for row in range(44)], [*TEXTS, *TEXTS[:1] * 40])
    assert own.of_item("2") == {"notes", "a", "log"}


def test_the_number_of_a_word_does_not_depend_on_the_order_of_the_items() -> None:
    """Prevents IDs that change with the order of the rows: ties are broken by these numbers."""
    assert OwnWords.of(["a", "b", "c", "d"], TEXTS).words == OwnWords.of(["d", "c", "b", "a"], TEXTS[::-1]).words
