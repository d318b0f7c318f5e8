"""Which columns of a catalogue the text voices read, by a rule that is the same for every shop.

voices = for_shop(Voices(), learned.texts)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.settings.voices import Voices

USUAL = ("title", "brand", "categories", "attributes")
_NEVER = ("item_id", "text", "description", "image_url", "image_labels")
_DISTINCT = 0.5
"""A further column with more different values than this share of the filled ones names single items (codes, addresses)
and joins none."""


def for_shop(voices: Voices, texts: Mapping[str, Sequence[Any]]) -> Voices:
    """`voices` whose text voices read, beside the usual columns, the further ones whose values items share.

    Descriptions are left out: they are many words of little weight, and no source has them. They are read where a shop
    has nothing else.
    """
    further = [name for name, values in texts.items() if name not in (*USUAL, *_NEVER) and _shared(values)]
    words, whole = list(USUAL), ["brand", "categories", "attributes"]
    if not any(any(texts.get(name, ())) for name in (*USUAL, *further)):  # a column may stand there empty
        words = ["description"]
    rich, plain = voices.text, voices.text_words
    rich = replace(rich, words=[*(words if words != list(USUAL) else rich.words)], whole=[*whole, *further])
    plain = replace(plain, words=[*words, *further])
    last = replace(voices.text_last, words=plain.words)
    then, before = replace(voices.graph_then_text, text=rich), replace(voices.text_then_graph, text=rich)
    return replace(voices, text=rich, text_words=plain, text_last=last, graph_then_text=then, text_then_graph=before)


def _shared(values: Sequence[Any]) -> bool:
    """Whether a column is of texts or lists of texts that stand with several items."""
    filled = [value for value in values if value]
    parts = [part for value in filled for part in ((value,) if isinstance(value, str) else value)]
    if not parts or not all(isinstance(part, str) for part in parts[:100]):
        return False
    return len(set(parts)) <= _DISTINCT * len(parts)
