"""How an instruct model that was never taught to write IDs is asked for one: in its own chat form.

    model, tokenizer = load(Path("work/smollm2-135m-instruct"))
    table, report = write_ids(model, tokenizer, ids, texts, search(params.index), max_item_tokens=MAX_ITEM_TOKENS)

The model answers with words of the item's own text alone, as every generator does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.errors import BadInput
from components.networks.backbone import build_tokenizer, load_model
from components.settings.params import Index
from components.textid.words.tokenizer import encode_words

MAX_ITEM_TOKENS = 48
"""Tokens of an item's text that are read: brand and name stand first."""
_SEARCH: dict[str, Any] = {"candidates": 4, "groups": 2, "batch_items": 32, "faithful": True}
"""Fewer candidates than of a small generator, as each costs more; an ID of other words would be anything at all."""
_ITEM = "\ue000"


@dataclass(frozen=True)
class Task:
    """What an instruct model is to do, and examples of it."""

    told: str
    examples: tuple[tuple[str, str], ...] = ()


NAME = Task(
    "You name products: brand, kind, and what sets it apart. Use words of the text.",
    (
        (
            "crabtree evelyn gardeners hand cream 3 4 oz beauty skin care hands nails",
            "crabtree evelyn gardeners hand cream",
        ),
        (
            "melissa doug wooden building blocks set 100 pieces toys games building toys",
            "melissa doug wooden building blocks",
        ),
    ),
)
"""Without examples the answers are numbers and categories as often as names."""
NEXT = Task("Somebody took these things, one after the other. Name what they take next.")


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A decoder-only model with a chat template, in bf16. Raises `BadInput` for another one."""
    if not folder.is_dir():
        mend = "python -m components.networks.smollm2 FOLDER writes one"
        raise BadInput("there is no such folder", where=str(folder), mend=mend)
    tokenizer = build_tokenizer(str(folder))
    if tokenizer.chat_template is None:
        mend = "name an instruct model, such as what `python -m components.networks.smollm2` writes"
        raise BadInput("the model has no chat template, so nobody can ask it", where=str(folder), mend=mend)
    model: Any = load_model(folder, "decoder-only")
    return model.to(torch.bfloat16), tokenizer


def search(settings: Index) -> Index:
    """The settings of a table that such a model writes."""
    return replace(settings, **_SEARCH)


def prompts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_tokens: int) -> list[list[int]]:
    """Token ids of what the model is asked about each text, of whose words at most `max_tokens` tokens are read."""
    head, tail = around(tokenizer, NAME)
    return [[*head, *row[:max_tokens], *tail] for row in encode_words(tokenizer, texts)]


@cache
def around(tokenizer: Any, task: Task) -> tuple[list[int], list[int]]:
    """The tokens before and behind what the model is asked about."""
    told = [{"role": "system", "content": task.told}]
    for text, answer in task.examples:
        told += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    told.append({"role": "user", "content": _ITEM})
    said = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
    head, tail = (tokenizer.encode(part, add_special_tokens=False) for part in said.split(_ITEM))
    return head, tail
