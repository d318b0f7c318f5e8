"""The tokenizer that is trained on the catalogue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import BadInput
from components.networks.tokenizer import load_tokenizer, save_tokenizer
from components.textid.words.normal import normalise
from components.textid.words.tokenizer import decode_words, encode_texts, encode_words, end_id, pad_id, train_tokenizer
from tests.training.pretrained import tokenizer_for

TEXTS = ["title: black soap 32 oz, brand: Acorn", "title: オーガニック 化粧水", "title: हिन्दी साबुन & more"] * 20
TOKENIZER = train_tokenizer(TEXTS, vocabulary_size=400)


@given(st.text())
def test_any_words_come_back_as_they_went_in(text: str) -> None:
    """Prevents IDs that the table refuses: nothing is unknown, in no script."""
    words = normalise(text)
    (tokens,) = encode_words(TOKENIZER, [words])
    assert TOKENIZER.unk_token_id not in tokens
    assert decode_words(TOKENIZER, [tokens]) == [words]


def test_special_tokens_are_those_of_t5_and_cannot_be_written_by_a_title() -> None:
    """Prevents a product called "</s>" from ending its own text."""
    assert (pad_id(TOKENIZER), end_id(TOKENIZER), TOKENIZER.unk_token_id) == (0, 1, 2)
    row = TOKENIZER("a </s> <pad> <0xE3> b").input_ids
    assert row.count(1) == 1 and row[-1] == 1 and not {0, 2} & set(row)
    assert not [token for token in TOKENIZER.convert_ids_to_tokens(row) if token.startswith("<0x")]


def test_frequent_words_are_one_token() -> None:
    """Prevents long IDs: the trainer takes no word that stands in no other word, unless it is helped."""
    assert [len(tokens) for tokens in encode_words(TOKENIZER, ["black soap", "acorn", "title"])] == [2, 1, 1]


def test_texts_are_cut_and_always_end() -> None:
    """Prevents a text without its end token, which the encoder has never seen."""
    rows = encode_texts(TOKENIZER, ["black soap " * 50, "", "black"], max_tokens=8)
    assert [len(row) for row in rows] == [8, 1, 2]
    assert all(row[-1] == 1 for row in rows)
    assert encode_texts(TOKENIZER, [], max_tokens=8) == [] and decode_words(TOKENIZER, []) == []


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["!!!"], ["\x00\u200d"]])
def test_a_catalogue_with_next_to_no_text_has_a_tokenizer(texts: list[str]) -> None:
    """Prevents a crash where the vocabulary asked for cannot be reached."""
    tokenizer = train_tokenizer(texts, vocabulary_size=64)
    words = "black soap 石鹸"
    assert decode_words(tokenizer, encode_words(tokenizer, [words])) == [words]


def test_a_script_of_many_characters_does_not_eat_the_vocabulary() -> None:
    """Prevents a vocabulary many times larger than asked for: rare characters are spelt in bytes."""
    texts = [chr(0x4E00 + number) * 2 for number in range(3000)]
    assert len(train_tokenizer(texts, vocabulary_size=1000)) <= 1000


def test_equal_texts_give_equal_files_in_every_process_and_order(tmp_path: Path) -> None:
    """Prevents a tokenizer whose hash changes with the hash seed of the process or the order of the rows."""
    code = (
        "import sys; from pathlib import Path; from tests.textid.words.test_tokenizer import TEXTS;"
        "from components.networks.tokenizer import save_tokenizer;"
        "from components.textid.words.tokenizer import train_tokenizer;"
        "save_tokenizer(train_tokenizer(TEXTS[::-1], vocabulary_size=400), Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, cwd=root, env=environment)
    save_tokenizer(TOKENIZER, tmp_path / "here")
    save_tokenizer(load_tokenizer(tmp_path / "here"), tmp_path / "again")
    for file in sorted((tmp_path / "here").iterdir()):
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes(), file.name
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_item_texts_are_read_as_words_and_prompts_as_they_are() -> None:
    """Prevents a third of the encoder's work from going into commas."""
    plain, marked = encode_texts(TOKENIZER, ["black soap acorn", "Black 'Soap', (Acorn)!"], max_tokens=30)
    assert plain == marked
    assert len(TOKENIZER("black soap, acorn!").input_ids) > len(plain)


@pytest.mark.parametrize("kind", ["ours", "t5", "llama", "gpt2", "qwen2", "bart"])
def test_tokens_and_words_are_those_of_the_library(kind: str) -> None:
    """Prevents another reading by the way below the library: of special tokens in a title, after a call that cuts."""
    tokenizer = TOKENIZER if kind == "ours" else tokenizer_for(kind)
    texts = [*TEXTS[:3], "", "a </s> b<|endoftext|> <pad>  c", "naïve ①"]
    how = {"add_special_tokens": False, "truncation": False}
    theirs = [tuple(tokenizer(text, **how)["input_ids"]) for text in texts]
    tokenizer(texts[:1], truncation=True, max_length=2)
    assert encode_words(tokenizer, texts) == theirs
    ids = [*theirs, [tokenizer.eos_token_id, 5, 6]]
    said = [tokenizer.decode(list(row), skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in ids]
    assert decode_words(tokenizer, ids) == [normalise(text) for text in said]


def test_a_loaded_tokenizer_is_the_saved_one(tmp_path: Path) -> None:
    """Prevents a decoder or normaliser that gets lost on disk."""
    save_tokenizer(TOKENIZER, tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert encode_texts(loaded, TEXTS[:3], max_tokens=30) == encode_texts(TOKENIZER, TEXTS[:3], max_tokens=30)
    assert decode_words(loaded, [[5, 6, 7]]) == decode_words(TOKENIZER, [[5, 6, 7]])
    with pytest.raises(BadInput, match="there is no tokenizer"):
        load_tokenizer(tmp_path / "none")
