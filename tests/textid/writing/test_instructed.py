"""An instruct model writes IDs that nobody taught it, of each item's own words; a random one shows the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BadInput
from components.foundation.ids import written
from components.networks.tokenizer import load_tokenizer, save_tokenizer
from components.settings.params import Index
from components.textid.words.own import OwnWords
from components.textid.writing.instructed import load, prompts
from tests.training.pretrained import TEXTS, checkpoint

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = checkpoint(tmp_path_factory.mktemp("instruct") / "model", request.param)
    tokenizer = load_tokenizer(path)
    tokenizer.chat_template = TEMPLATE
    save_tokenizer(tokenizer, path)
    return path


def test_ids_are_words_of_the_items(folder: Path) -> None:
    """Prevents a model that says what it likes, and an answer to another item's text."""
    texts = TEXTS[:20]
    ids = [f"i{number}" for number in range(len(texts))]
    table, report, _ = written(ids, texts, Index(faithful=False), writer=folder)
    own = OwnWords.of(ids, texts)
    assert report["by"] == "instruct model" and len(set(table.words)) == 20
    assert all(set(words.split()) <= own.of_item(item) for item, words in zip(ids, table.words, strict=True))
    again, _, _ = written(ids[::-1], texts[::-1], Index(faithful=False), writer=folder)
    assert again.words == table.words[::-1]


def test_the_model_is_asked_in_its_own_form(folder: Path) -> None:
    _, tokenizer = load(folder)
    rows = prompts(tokenizer, ["green soap", "blue brush of the series"], max_tokens=3)
    said = [tokenizer.decode(row) for row in rows]
    assert "<user> green soap <assistant>" in said[0].replace("  ", " ")
    assert len({len(row) for row in prompts(tokenizer, ["green soap " * 9, "blue soap " * 20], max_tokens=3)}) == 1


def test_a_model_that_nobody_can_ask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no chat template"):
        load(checkpoint(tmp_path / "plain", "llama"))
    with pytest.raises(BadInput, match="no such folder"):
        load(tmp_path / "nothing")
