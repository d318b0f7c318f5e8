"""Other wordings in training prompts: an item's own words alone, nobody's ID, and the table's ID is what is taught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.recommender.batches.batch import IGNORED
from components.recommender.batches.samples import Samples
from components.recommender.batches.windows import Windows
from components.recommender.batches.wordings import Wordings
from components.recommender.prompts.phrasings import prompts_of
from components.recommender.trie.choices import Paths
from components.recommender.trie.trie import Trie
from components.settings.train import Family
from components.storage.ragged import Ragged
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import decode_words, encode_words, train_tokenizer
from components.textid.words.wordings import OtherWordings, other_wordings

IDS = ["black soap honey", "white soap", "soap", "green towel series", "black honey", "blue brush"]
TEXTS = [
    "black soap with honey and lemon",
    "white soap, mild",
    "soap",
    "green towel of the bath series",
    "black honey",
    "blue brush, soft",
]
TOKENIZER = train_tokenizer(TEXTS * 20, vocabulary_size=400)
OWN = OwnWords.of([str(number) for number in range(len(IDS))], TEXTS)
TOKEN_IDS = encode_words(TOKENIZER, IDS)
HISTORIES = Ragged.of([[0, 3, 1, 5, 4], [5, 0, 2], [3, 4, 0, 1], [1, 0]] * 8)
END = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def others() -> OtherWordings:
    return other_wordings(IDS, Ragged.of(TOKEN_IDS), OWN, TOKENIZER, seed=5)


def training_set(family: Family, wordings: Wordings | None) -> Any:
    pieces = prompts_of(family).tokenise(TOKENIZER)
    if family == "encoder-decoder":
        return Samples(HISTORIES, TOKEN_IDS, pieces, end_token=END, max_history=4, wordings=wordings)
    paths = Paths.of(Trie.build(TOKEN_IDS, end_token=END))
    return Windows(HISTORIES, TOKEN_IDS, pieces, max_history=4, wordings=wordings, paths=paths)


def test_wordings_are_words_of_the_item_and_nobodys_id(others: OtherWordings) -> None:
    """Prevents a prompt that says of one item what another one is called, and one that outgrows its padded length."""
    for item, (said, text) in enumerate(zip(IDS, TEXTS, strict=True)):
        for number in range(*others.offsets[item : item + 2]):
            words = others.words[number].split()
            assert set(words) <= {*said.split(), *OWN.of_item(str(item))}, text
            assert " ".join(words) not in IDS
            assert 0 < len(others.tokens.row(number)) <= len(TOKEN_IDS[item])
            assert decode_words(TOKENIZER, [others.tokens.row(number).tolist()]) == [others.words[number]]
    assert others.offsets[3] - others.offsets[2] == 0  # "soap" has no other
    assert "soap honey" in others.words and "and soap honey" in others.words  # left out; another in its place


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_prompts_are_reworded_and_targets_are_ids(family: Family, others: OtherWordings) -> None:
    """Prevents a label that is another wording, and a share that is not the one asked for."""
    wordings = Wordings(others.tokens, others.offsets, share=0.5)
    made, reworded, items = training_set(family, wordings), 0, 0
    forms = [set(map(tuple, [own])) for own in TOKEN_IDS]
    for item in range(len(IDS)):
        forms[item] |= {tuple(others.tokens.row(number).tolist()) for number in range(*others.offsets[item : item + 2])}
    seen = set()
    for rows in made.epoch(seed=1, number=0, batch_size=8):
        batch = made.collate(rows)
        labels = batch.labels.numpy()
        for row in range(len(labels)):
            taught = labels[row][labels[row] != IGNORED].tolist()
            for said in split(taught):
                assert said in TOKEN_IDS
        ends = batch.ends
        for row, column, item in zip(ends.rows.tolist(), ends.columns.tolist(), ends.items.tolist(), strict=True):
            before = batch.input_ids[row, : column + (family == "encoder-decoder")].tolist()
            said = next(form for form in sorted(forms[item], key=len, reverse=True) if before[-len(form) :] == [*form])
            items, reworded = items + 1, reworded + (said != tuple(TOKEN_IDS[item]))
            seen.add((item, said))
        if family == "decoder-only":
            chosen, flat = batch.choices, batch.labels.flatten()
            assert flat[chosen.first].tolist() == chosen.opening[chosen.first_labels].tolist()
            assert flat[chosen.later].tolist() == chosen.options[chosen.chosen].tolist()
            assert len(chosen.first) == sum(len(split(row[row != IGNORED].tolist())) for row in labels)
    assert 0.2 < reworded / items < 0.5 and len(seen) > 8  # some have no other wording


def split(tokens: list[int]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    while END in tokens:
        at = tokens.index(END)
        found, tokens = [*found, tuple(tokens[:at])], tokens[at + 1 :]
    assert not tokens
    return found


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_a_share_of_zero_changes_nothing(family: Family, others: OtherWordings) -> None:
    plain, none = training_set(family, None), training_set(family, Wordings(others.tokens, others.offsets, share=0.0))
    for rows in plain.epoch(seed=1, number=0, batch_size=8):
        assert not rows.wordings.any()
        first, second = plain.collate(rows), none.collate(rows)
        assert np.array_equal(first.input_ids, second.input_ids) and np.array_equal(first.labels, second.labels)
