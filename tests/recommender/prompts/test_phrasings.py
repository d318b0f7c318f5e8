"""Prompts: spliced on token ids, dropped from the old end, and the same after a trip through JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.recommender.prompts.phrasings import Prompts, prompts_of

ITEMS = [(3, 4), (5,), (6, 7, 8)]


@pytest.mark.parametrize("template", range(len(Prompts().templates)))
def test_spans_are_where_the_ids_stand(tokenizer: Any, template: int) -> None:
    """A span off by one would put the soft ID of one item over the separator or the next item."""
    prompt = Prompts().tokenise(tokenizer).build(template, ITEMS, max_tokens=100, user=(9, 9))
    assert [prompt.token_ids[start:end] for start, end in prompt.spans] == ITEMS
    assert prompt.token_ids[-1] == tokenizer.eos_token_id
    assert prompt.token_ids[:3] == (9, 9, tokenizer.eos_token_id)


def test_reads_as_the_template(tokenizer: Any) -> None:
    """Guards against a head or tail lost or swapped."""
    prompt = (
        Prompts(("a customer bought {history} what comes next",)).tokenise(tokenizer).build(0, ITEMS, max_tokens=99)
    )
    words = tokenizer.convert_ids_to_tokens(prompt.token_ids)
    assert " ".join(words) == ("a customer bought clarisonic mia </s> sonic </s> brush soap black what comes next </s>")


def test_too_long_drops_the_oldest(tokenizer: Any) -> None:
    """The newest items say most; cutting from the wrong end would keep the stale ones."""
    pieces = Prompts(("{history}",)).tokenise(tokenizer)
    full = len(pieces.build(0, ITEMS, max_tokens=100).token_ids)
    assert pieces.build(0, ITEMS, max_tokens=full).spans[0] == (0, 2)
    shorter = pieces.build(0, ITEMS, max_tokens=full - 1)
    assert [shorter.token_ids[start:end] for start, end in shorter.spans] == ITEMS[1:]
    assert len(pieces.build(0, ITEMS, max_tokens=100, max_items=1).spans) == 1
    assert pieces.build(0, ITEMS, max_tokens=2).spans == ()


def test_empty_history_is_a_prompt(tokenizer: Any) -> None:
    """A new visitor gets recommendations, not a crash."""
    prompt = Prompts().tokenise(tokenizer).build(0, [], max_tokens=100)
    assert prompt.spans == ()
    assert prompt.token_ids[-1] == tokenizer.eos_token_id


def test_separator_is_never_unknown(tokenizer: Any) -> None:
    """A tokenizer trained on words has no comma; the unknown token must not become the separator."""
    assert Prompts(separator=",").tokenise(tokenizer).separator == (tokenizer.eos_token_id,)
    assert Prompts(separator="mia").tokenise(tokenizer).separator == (4,)


def test_an_open_ended_prompt_is_the_beginning_of_each_longer_one(tokenizer: Any) -> None:
    """What a decoder-only model reads must be what it has written: else one forward teaches another task."""
    pieces = prompts_of("decoder-only").tokenise(tokenizer)
    end = tokenizer.eos_token_id
    for template in range(len(pieces)):
        whole = pieces.build(template, ITEMS, max_tokens=100)
        assert [whole.token_ids[start:stop] for start, stop in whole.spans] == ITEMS
        for count in range(len(ITEMS)):
            shorter = pieces.build(template, ITEMS[:count], max_tokens=100).token_ids
            assert shorter[-1] == end and shorter[-2] != end
            assert whole.token_ids[: len(shorter)] == shorter
    full = len(pieces.build(0, ITEMS, max_tokens=100).token_ids)
    assert len(pieces.build(0, ITEMS, max_tokens=full).spans) == 3
    assert len(pieces.build(0, ITEMS, max_tokens=full - 1).spans) == 2


def test_saved_and_loaded(tokenizer: Any, tmp_path: Path) -> None:
    """A bundle whose prompts changed on the way would read histories in words it was not trained on."""
    for prompts in (Prompts(("x {history}", "{history} é"), separator="next"), prompts_of("decoder-only")):
        prompts.save(tmp_path / "prompts.json")
        assert Prompts.load(tmp_path / "prompts.json") == prompts


def test_bad_prompts_are_named(tmp_path: Path) -> None:
    """A template without a place for the history would train on nothing."""
    with pytest.raises(BadInput, match="exactly once"):
        Prompts(("no place",))
    with pytest.raises(BadInput, match="goes on after"):
        Prompts(("what follows {history} now",), open_ended=True)
    (tmp_path / "prompts.json").write_text('{"templates": ["{history}"]}')
    with pytest.raises(BadInput, match="separator"):
        Prompts.load(tmp_path / "prompts.json")
