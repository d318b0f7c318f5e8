"""Columns of the tables of relations and media, and which relations tell what others did."""

from __future__ import annotations

import re

import polars as pl

from components.data.canonical.coded import Kind

RELATIONS: dict[str, Kind] = dict.fromkeys(("head", "relation", "tail"), pl.String)
"""A head is an item id."""
MEDIA: dict[str, Kind] = {
    "view": pl.String,
    "item_id": pl.String,
    "kind": pl.String,
    "file": pl.String,
    "bytes": pl.Int64,
    "digest": pl.String,
    "problem": pl.String,
    "numbers": pl.List(pl.Float32),
    "labels": pl.List(pl.String),
}
"""`kind`: picture, sound, numbers or labels. `problem`: why the file cannot be used; null where it can."""
_DONE = (
    r"(?:bought|buy|purchas\w*|view\w*|watch\w*|click\w*|listen\w*|order\w*|rat(?:ed|ing)|lik(?:ed|es)|rent\w*"
    r"|played|saved|search\w*)"
)
_BEHAVIOUR = re.compile(
    rf"(?:also|together|frequently|often|after|with|co|next|similar_users?|who(?:_also)?)_?{_DONE}"
    rf"|{_DONE}_?(?:together|also|after|with|next)|also_read|co_?occur|same_(?:basket|cart|session)"
)


def is_behaviour(relation: str) -> bool:
    """Whether the name of a relation says that it is what others did: `also_bought`, `buyAfterViewing`, `co-viewed`."""
    spoken = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", relation)
    return _BEHAVIOUR.search(re.sub(r"[^a-z0-9]+", "_", spoken.lower())) is not None
