"""IDs of an item's own words: the search against an enumeration of all of them, and tables that say nothing false."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.networks.backbone import build
from components.networks.families import seq2seq_model
from components.settings.params import Index
from components.textid.table.id_table import IdTable
from components.textid.words.normal import split
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import encode_texts, encode_words, train_tokenizer
from components.textid.words.twins import near_twins
from components.textid.writing.diverse import propose
from components.textid.writing.legal import Lexicon
from components.textid.writing.spelling import Spelling
from components.textid.writing.writer import write_ids
from tests.networks.seq2seq_models import make_bart
from tests.textid.conftest import padded
from tests.textid.writing.diverse_reference import legal_ids, propose_slowly
from tests.training.pretrained import byte_level, spaced

TEXTS = [
    "green soaps soap bar large",
    "green soaps soap bar small",
    "black soaps soap bar small",
    "soap of the series",
    "crème brûlée",
    "white",
]
IDS = [f"i{row}" for row in range(len(TEXTS))]
NAMES = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerBase:
    if kind == "ours":
        return train_tokenizer(TEXTS * 20, vocabulary_size=230)  # few pieces: most words are several
    return byte_level(TEXTS[:5] * 9, **NAMES) if kind == "byte-level" else spaced(**NAMES)


@cache
def model_of(kind: str) -> PreTrainedModel:
    """A T5 for the tokenizers of its kind, a BART for a byte-level one; random, so that it says anything."""
    tokenizer = tokenizer_of(kind)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    if kind == "byte-level":
        return make_bart("bart", len(tokenizer), seed=2, pad_token_id=pad, eos_token_id=end, decoder_start_token_id=end)
    model = build("scratch", size="d_model=16,layers=2,heads=2,d_ff=32", vocabulary_size=len(tokenizer), seed=2)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(3.0)
    return model


def lexicon(kind: str, texts: list[str], max_tokens: int) -> Lexicon:
    own = OwnWords.of([str(row) for row in range(len(texts))], texts)
    return Lexicon(tokenizer_of(kind), own, near_twins(own), texts, range(len(texts)), max_tokens=max_tokens)


def all_ids(kind: str, texts: list[str], row: int, max_tokens: int) -> tuple[set[tuple[int, ...]], set[int]]:
    """All IDs that an item may get, as tokens, and the tokens of all its words, wherever they stand."""

    def encode(words: str) -> tuple[int, ...]:
        return encode_words(tokenizer_of(kind), [words])[0]

    own = OwnWords.of([str(row) for row in range(len(texts))], texts)
    demands = [{own.words[number] for number in words} for words in near_twins(own).apart.get(row, [])]
    words = sorted(own.of_row(row))
    fitting = [word for word in words if len(encode(word)) <= max_tokens]
    tokens = {token for word in fitting for token in encode(word)}
    tokens |= {token for word in fitting for token in encode(f"a {word}")[len(encode("a")) :]}
    return set(legal_ids(fitting, demands, encode, max_tokens)), tokens


@pytest.mark.parametrize("kind", ["ours", "spaced", "byte-level"])
@pytest.mark.parametrize(("groups", "penalty"), [(1, 0.0), (3, 0.7)])
def test_the_search_finds_what_filtering_the_vocabulary_finds(kind: str, groups: int, penalty: float) -> None:
    """Prevents a search that leaves the item's words, cuts the last one, says one twice, or loses a legal ID.

    The reference looks at the whole vocabulary and asks of each token whether any ID of the item's words, all of which
    it has enumerated and tokenised whole, begins so.
    """
    tokenizer, longest = tokenizer_of(kind), 9
    rows = encode_texts(tokenizer, TEXTS, max_tokens=40)
    model, how = model_of(kind), {"candidates": 6, "groups": groups, "diversity_penalty": penalty}
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids, mask = padded(rows)
    ids = ids.masked_fill(mask == 0, pad)
    legal = lexicon(kind, TEXTS, longest).legal(range(len(TEXTS)), max_tokens=longest)
    network = seq2seq_model(model, end_token=end)
    tokens, scores = propose(network, ids, mask, max_tokens=longest, pad_id=pad, legal=legal, **how)
    for row, text in enumerate(rows):
        enumerated, own = all_ids(kind, TEXTS, row, longest)
        expected = propose_slowly(model, text, max_tokens=longest, allowed=own, ids=enumerated, eos_id=end, **how)
        found = [
            (tuple(token for token in sequence if token != pad), score)
            for sequence, score in zip(tokens[row].tolist(), scores[row].tolist(), strict=True)
            if score > float("-inf")
        ]
        assert found and {written for written, _ in found} <= enumerated
        assert [written for written, _ in found] == [written for written, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=3
    ),
    kind=st.sampled_from(["ours", "spaced", "byte-level"]),
    max_tokens=st.integers(1, 7),
)
def test_every_step_allows_exactly_what_some_id_goes_on_with(texts: list[str], kind: str, max_tokens: int) -> None:
    """Prevents dead ends and lost IDs where words begin alike, tokens run out, or two demands share a word."""
    enumerated = [all_ids(kind, texts, row, max_tokens)[0] for row in range(len(texts))]
    if any(not ids for ids in enumerated):
        return  # a demand does not fit and is dropped, which the enumeration does not know
    end = tokenizer_of(kind).eos_token_id
    for row, ids in enumerate(enumerated):
        legal = lexicon(kind, texts, max_tokens).legal([row], max_tokens=max_tokens)
        for written in random.Random(7).sample(sorted(ids), min(4, len(ids))):
            spelling = Spelling(legal, max_tokens)
            for step in range(len(written) + 1):
                beginning = written[:step]
                may = {*legal.columns[0][spelling.look()[0, 0]].tolist()}
                follow = {one[step] for one in ids if one[:step] == beginning and len(one) > step}
                assert may == follow | ({end} if beginning in ids else set())
                if step < len(written):
                    spelling.go(torch.zeros(1, 1, dtype=torch.long), torch.tensor([[written[step]]]))


def table_of(kind: str, texts: list[str], **changes: Any) -> tuple[Any, dict[str, Any]]:
    index = replace(Index(max_tokens=12, candidates=4, groups=2, batch_items=4), **changes)
    ids = [f"i{row:03d}" for row in range(len(texts))]
    return write_ids(model_of(kind), tokenizer_of(kind), ids, texts, index, max_item_tokens=40)


@pytest.mark.parametrize("kind", ["ours", "spaced", "byte-level"])
def test_no_table_says_anything_false_and_near_twins_are_told_apart(kind: str) -> None:
    """Prevents another item's words in an ID, whatever the generator would rather say and however its pieces lie."""
    table, report = table_of(kind, TEXTS)
    words = {item: set(text.split()) for item, text in zip(table.item_ids, TEXTS, strict=True)}
    assert all(set(said.split()) <= words[item] for item, said in zip(table.item_ids, table.words, strict=True))
    assert report["false_words"] == 0 and report["own_word_share"] == 1.0
    assert "large" in table.words[0] and "black" in table.words[2] and {"small", "green"} <= set(table.words[1].split())
    assert (report["near_twins"], report["distinguished"]) == (3, 1.0)


def test_relaxed_ids_may_say_anything_and_the_report_counts_it() -> None:
    """Prevents a setting that does nothing, and a report that calls foreign words an item's own."""
    table, report = table_of("ours", TEXTS, faithful=False)
    words = {item: set(text.split()) for item, text in zip(table.item_ids, TEXTS, strict=True)}
    false = [
        [word for word in said.split() if word not in words[item]]
        for item, said in zip(table.item_ids, table.words, strict=True)
    ]
    assert report["false_words"] == sum(map(len, false)) > 0
    assert report["false_id_share"] == pytest.approx(sum(map(bool, false)) / len(TEXTS), abs=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("name", ["amazon-beauty", "amazon-toys", "amazon-sports", "amazon-scientific"])
def test_real_catalogues_say_nothing_false(name: str, shared_data: Path) -> None:
    """Prevents false words where titles are dirty: 200 neighbours in the alphabet, many of which are near twins.

    The weights are random, so the generator would say anything. `benchmarks/true_ids.py` writes whole catalogues.
    """
    with gzip.open(shared_data / name / "items.jsonl.gz", "rt", encoding="utf-8") as stream:
        texts = sorted(item_text(json.loads(line)) for line in stream)[2000:2200]
    tokenizer = train_tokenizer(texts, vocabulary_size=2000)
    model = build("scratch", size="d_model=16,layers=1,heads=2", vocabulary_size=len(tokenizer), seed=2)
    ids = [f"i{row:03d}" for row in range(len(texts))]
    table, report = write_ids(model, tokenizer, ids, texts, Index(), max_item_tokens=32)
    for item, said in zip(table.item_ids, table.words, strict=True):
        words = split(texts[int(item[1:])])
        assert set(said.split()) <= set(words) or said.split()[-1].isdecimal()
    assert report["false_words"] == 0 and report["numbered"] <= 2
    assert report["near_twins"] > 30 and report["distinguished"] >= 0.95
    assert table.violations(tokenizer, max_tokens=10, item_ids=ids) == []


def item_text(item: dict[str, Any]) -> str:
    """The text of an item as `clean` would make it, but for the scrubbing."""
    parts = {name: item.get(name) for name in ("title", "brand", "categories", "attributes")}
    listed = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in parts.items()}
    return ", ".join(f"{name}: {value}" for name, value in listed.items() if value)


def test_a_number_that_tells_items_apart_is_said_with_its_unit() -> None:
    """Prevents "sun lotion 60" where the bottles are 60 ml and 250 ml."""
    texts = [f"title: acorn sun lotion spray, {size} ml, brand: acorn" for size in (60, 250)]
    tokenizer = train_tokenizer(texts * 20, vocabulary_size=300)
    model = build("scratch", size="d_model=16,layers=1,heads=2", vocabulary_size=len(tokenizer), seed=2)
    table, report = write_ids(model, tokenizer, ["a", "b"], texts, Index(), max_item_tokens=24)
    assert "60 ml" in table.words[0] and "250 ml" in table.words[1]
    assert report["false_words"] == 0 and report["distinguished"] == 1.0


def test_items_of_equal_words_differ_in_words_order_or_at_last_a_number() -> None:
    """Prevents a false word, or a refusal, where the texts cannot tell items apart; numbers are counted."""
    table, report = table_of("ours", ["white soap"] * 9)
    assert len(set(table.words)) == 9 and {"white", "soap", "white soap", "soap white"} <= set(table.words)
    assert report["numbered"] == sum(words.split()[-1].isdigit() for words in table.words) == 5
    assert report["false_words"] == 0


def named(table: IdTable) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Words and tokens by item; the rows of a table stand in the order in which the items were asked for."""
    return dict(zip(table.item_ids, zip(table.words, table.token_ids, strict=True), strict=True))


def test_ids_do_not_depend_on_the_order_of_the_rows() -> None:
    """Prevents near twins and legal words that are found for another row than they are used for."""
    order = [3, 1, 5, 0, 4, 2]
    index = Index(max_tokens=12, candidates=4, groups=2, batch_items=4)
    how = {"settings": index, "max_item_tokens": 40}
    straight = write_ids(model_of("ours"), tokenizer_of("ours"), IDS, TEXTS, **how)[0]
    shuffled = write_ids(
        model_of("ours"), tokenizer_of("ours"), [IDS[row] for row in order], [TEXTS[row] for row in order], **how
    )[0]
    assert named(straight) == named(shuffled)
