"""The contract of an ID table: check every rule, list the rows that break it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypedDict

from components.textid.words.normal import normalise
from components.textid.words.tokenizer import decode_words, encode_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHOWN = 10


class Violation(TypedDict):
    """A rule: its name, how many rows break it, and at most ten of them."""

    rule: str
    count: int
    rows: list[dict[str, str]]


def check(
    item_ids: Sequence[str],
    words: Sequence[str],
    token_ids: Sequence[tuple[int, ...]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int,
    catalogue: Sequence[str],
) -> list[Violation]:
    """Every rule of the contract with the rows that break it; a kept rule has count 0.

    Every item of the catalogue has exactly one ID; unique as words and as token sequences; non-empty; words only; at
    most `max_tokens` tokens; encode -> decode -> encode is the identity.
    """
    known = set(item_ids)
    canonical = encode_words(tokenizer, words)
    decoded = decode_words(tokenizer, token_ids)
    rows = list(zip(item_ids, words, token_ids, canonical, decoded, strict=True))
    broken = {
        "every item of the catalogue has an ID": [(item, "") for item in sorted(set(catalogue) - known)],
        "an item has exactly one ID": _shared(item_ids, item_ids),
        "IDs are unique as words": _shared(item_ids, words),
        "IDs are unique as token sequences": _shared(item_ids, token_ids),
        "IDs are not empty": [(item, text) for item, text, tokens, _, _ in rows if not text or not tokens],
        "IDs are words only": [(item, text) for item, text, _, _, _ in rows if normalise(text) != text],
        f"IDs have at most {max_tokens} tokens": [
            (item, text) for item, text, tokens, _, _ in rows if len(tokens) > max_tokens
        ],
        "encode, decode, encode is the identity": [
            (item, text) for item, text, tokens, encoded, back in rows if tokens != encoded or back != text
        ],
    }
    return [
        {"rule": rule, "count": len(bad), "rows": [{"item_id": item, "words": text} for item, text in bad[:_SHOWN]]}
        for rule, bad in broken.items()
    ]


def _shared(item_ids: Sequence[str], values: Sequence[Hashable]) -> list[tuple[str, str]]:
    """Items whose value another item has as well, with that value."""
    holders: dict[Hashable, list[str]] = defaultdict(list)
    for item_id, value in zip(item_ids, values, strict=True):
        holders[value].append(item_id)
    return [(item_id, str(value)) for value, items in holders.items() if len(items) > 1 for item_id in items]
