"""A pair on disk, untrained: what the tests of the engine and of bulk scoring load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.recommender.pair import Pair
from components.recommender.prompts.phrasings import Prompts
from components.storage.artifacts import publishing
from components.storage.manifest import write_manifest
from components.textid.table.id_table import IdTable

WORDS = {
    "B1": "black soap",
    "B2": "honey cream",
    "B3": "honey soap",
    "B4": "lemon towel",
    "B5": "honey",
    "B6": "mia sonic brush",
}
"""Item id -> textual ID."""
_KINDS = ("soap skin", "skin hair", "hair soap", "soap bath", "bath skin", "hair bath")
TEXTS: dict[str, list[Any]] = {
    "title": [f"Title of {item}" for item in WORDS],
    "categories": [["All", *kinds.split()] for kinds in _KINDS],
}
"""Columns of the item table: each item shares a category with four others."""
_MODELS = ("generator", "recommender")


def save_pair(
    path: Path,
    make_model: Callable[..., Any],
    tokenizer: Any,
    *,
    kind: str = "t5",
    words: Mapping[str, str] = WORDS,
    **facts: Any,
) -> Path:
    """Write the pair to `path`, which is returned; both models are of one kind. `facts`: further ones of pair.json."""
    table = IdTable.from_words(tokenizer, words)
    models = {name: make_model(len(tokenizer), seed=seed, kind=kind) for seed, name in enumerate(_MODELS, 1)}
    pair = Pair(**models, tokenizer=tokenizer, prompts=Prompts(), table=table, facts={"max_history": 3, **facts})
    with publishing(path) as directory:
        pair.write(directory)
        write_manifest(directory)
    return path
