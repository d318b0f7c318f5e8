"""The words that a generator without pretraining learns to say first."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from components.textid.words.distinctive import WordStatistics, cold_start_targets, fit, ranked_words
from components.textid.words.tokenizer import decode_words, encode_words, train_tokenizer

TYPES = ["soap", "shampoo", "candle", "lotion", "brush", "comb", "towel", "mirror"]
BRANDS = ["Acorn", "Birch", "Cedar", "Dune", "Elm", "Fjord"]
TEXTS = [
    f"title: {brand} {kind} {size} oz, brand: {brand}, categories: Beauty, Care, description: The best {kind} for you."
    for brand in BRANDS
    for kind in TYPES
    for size in (8, 16)
]


def distinctive_words(texts: list[str], *, max_words: int) -> list[str]:
    """The name of every text."""
    statistics = WordStatistics.of(texts)
    return [statistics.name(row, max_words) for row in range(len(texts))]


def test_takes_the_name_in_the_order_it_occurs() -> None:
    """Prevents IDs such as "categories beauty 1": labels and words of every text must not enter."""
    words = distinctive_words(TEXTS, max_words=3)
    assert words[0] == "acorn soap"
    banned = {"title", "brand", "categories", "description", "beauty", "care", "the", "you"}
    assert not banned & {word for said in words for word in said.split()}


def test_depends_on_the_texts_and_not_on_their_order() -> None:
    """Prevents targets that change with the row order of the catalogue."""
    shuffled = random.Random(3).sample(TEXTS, len(TEXTS))
    straight = dict(zip(TEXTS, distinctive_words(TEXTS, max_words=4), strict=True))
    assert straight == dict(zip(shuffled, distinctive_words(shuffled, max_words=4), strict=True))


def test_a_catalogue_of_identical_or_empty_texts_still_has_words() -> None:
    """Prevents a division by zero, and labels as the only words, where every word is in every text."""
    assert distinctive_words(["title: Black Soap, brand: Acorn"] * 3, max_words=3) == ["black soap acorn"] * 3
    assert distinctive_words(["", "title: ", "a"], max_words=3) == ["", "", "a"]
    assert distinctive_words([], max_words=3) == []


def test_a_repeated_or_plural_word_is_taken_once() -> None:
    """Prevents IDs such as "soap soaps soap"."""
    texts = [
        "title: Rose Soap soap, categories: Soaps",
        "title: Oak Comb, categories: Combs",
        "title: Ice",
        "title: Fog",
    ]
    assert distinctive_words(texts, max_words=4)[:2] == ["rose soap", "oak comb"]


def test_brand_and_kind_win_over_what_is_said_once() -> None:
    """Prevents "moistureshine berry fit" for a lip gloss: brand and categories say again who made it and what it is."""
    others = [f"title: thing {number}, brand: Noname, categories: Beauty, Lips, Lip Glosses" for number in range(8)]
    text = "title: Neutro Shine Lip Gloss Berry Fit Extra Long Wear, brand: Neutro, categories: Beauty, Lip Glosses"
    said = distinctive_words([text, *others], max_words=5)[0].split()
    assert said[0] == "neutro" and "gloss" in said


def test_the_kind_of_thing_keeps_its_place_beside_rarer_words() -> None:
    """Prevents "octagon purpose laundry hearth", which says of a soap everything but that it is one."""
    others = [
        f"title: Thing{chr(97 + number)} Bar Soap Body, brand: Noname, categories: Beauty, Body, Soaps"
        for number in range(9)
    ]
    others += [f"title: Item{chr(97 + number)}, categories: Beauty, Body" for number in range(40)]
    text = "title: Octagon Purpose Laundry Body Soap by Hearth, brand: Octagon, categories: Beauty, Body, Soaps"
    assert distinctive_words([text, *others], max_words=4)[0] == "octagon purpose laundry soap"
    assert set(distinctive_words([text, *others], max_words=2)[0].split()) == {"octagon", "soap"}  # rarer than "body"


def test_numbers_measures_and_fillers_stay_out_where_there_are_words() -> None:
    """Prevents "robathol bath oil 16": a short text is a short name."""
    others = [f"title: Kind{chr(97 + number)}, categories: Care" for number in range(20)]
    packed = [f"{text} 16 oz Pack of 2" for text in others[:5]]
    text = "title: Robathol Emulsion 16 oz Pack of 2, categories: Care"
    assert distinctive_words([text, *others, *packed], max_words=5)[0] == "robathol emulsion"


def test_the_least_distinctive_words_go_where_not_all_fit() -> None:
    """Prevents a word that is cut off because it stands last: the weakest word goes, wherever it stands."""
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=300)
    texts = [*TEXTS, "title: the Acorn finest wooden comb, categories: Beauty"]
    best, second = ranked_words(texts, max_words=2)[-1]
    assert (best, second) == ("finest", "wooden")
    whole = distinctive_words(texts, max_words=5)[-1]
    lengths = {
        word: len(tokens) for word, tokens in zip(whole.split(), encode_words(tokenizer, whole.split()), strict=True)
    }
    for most in range(2, sum(lengths.values())):
        said = decode_words(tokenizer, cold_start_targets(tokenizer, texts, max_words=5, max_tokens=most))[-1].split()
        assert (best in said) == (lengths[best] <= most)
        assert said == [word for word in whole.split() if word in said] != whole.split()
        assert 0 < sum(lengths[word] for word in said) <= most or min(lengths.values()) > most


def test_ranked_words_put_the_most_distinctive_first() -> None:
    """Prevents distinguishing words taken from the dull end of a text."""
    every = ranked_words(TEXTS, max_words=2)
    assert set(every[0]) == {"acorn", "soap"}
    assert ranked_words(TEXTS, [2, 0], max_words=2) == [every[2], every[0]], "of some texts, by the words of all"


def test_targets_are_whole_words_that_fit() -> None:
    """Prevents a generator that learns to stop in the middle of a word."""
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=300)
    whole = distinctive_words(TEXTS, max_words=4)
    targets = cold_start_targets(tokenizer, TEXTS, max_words=4, max_tokens=5)
    assert all(0 < len(tokens) <= 5 for tokens in targets)
    assert all(
        set(said.split()) <= set(full.split())
        for full, said in zip(whole, decode_words(tokenizer, targets), strict=True)
    )
    assert all(
        full.split()[: len(said.split())] == said.split()
        for full, said in zip(whole, fit(tokenizer, whole, max_tokens=5), strict=True)
    )
    assert fit(tokenizer, ["acorn"], max_tokens=len(encode_words(tokenizer, ["acorn"])[0]) - 1) == [""]


@pytest.mark.real
def test_names_the_products_of_a_real_catalogue(shared_data: Path) -> None:
    """Prevents a change of the weights that makes real IDs read badly: labels, codes and "beauty" stay out."""
    with gzip.open(shared_data / "amazon-beauty" / "items.jsonl.gz", "rt", encoding="utf-8") as stream:
        items = {item["item_id"]: item for item in map(json.loads, stream)}
    texts = [
        f"title: {item.get('title', '')}, brand: {item.get('brand', '')}, categories: "
        + ", ".join(name for names in item["categories"] for name in names)
        for item in items.values()
    ]
    said = dict(zip(items, distinctive_words(texts, max_words=5), strict=True))
    assert said["9759091062"].startswith("xtreme brite brightening gel")
    assert "prada candy" in said["9788072216"] and "versace bright crystal" in said["9790790961"]
    words = [word for name in said.values() for word in name.split()]
    assert not {"title", "brand", "categories", "beauty"} & set(words)
    assert len(set(said.values())) > 0.94 * len(said)
    assert sum(any(sign.isdigit() for sign in word) for word in words) < 0.06 * len(words)
