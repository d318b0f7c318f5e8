"""Three tiers of what is known of a shop; which voices and which groups of features each of them has.

rank_settings("text_only", Foundation()).voices            # ["text", "text_words", "text_last"]
rank_settings("text_only", Foundation(encoder="wordllama")).voices       # and "view:encoder"
group_of(feature)                                          # "brand": what is missing together
"""

from __future__ import annotations

from typing import Literal

from components.ranking.features import COUNTS_AND_TIMES, Feature
from components.settings.foundation import Foundation
from components.settings.ranking import Rank
from components.voices.load import VIEW

Tier = Literal["text_only", "statistics", "stream"]
TIERS: tuple[Tier, ...] = ("text_only", "statistics", "stream")
"""The items' texts and the history that asks; counts and times of the shop as well; all its histories as well."""

ENCODER = "encoder"
"""The view that holds vectors of texts (`encoder.with_encoder`)."""
TEXT = ("text", "text_words", "text_last")
STATISTICS = ("popularity", "recent")
STREAM = ("graph", "graph_even", "graph_twice", "graph_then_text", "text_then_graph")
_VOICES: dict[Tier, tuple[str, ...]] = {
    "text_only": TEXT,
    "statistics": (*TEXT, *STATISTICS),
    "stream": (*TEXT, *STATISTICS, *STREAM),
}
_EVIDENCE: dict[Tier, tuple[str, ...]] = {
    "text_only": ("text",),
    "statistics": ("text",),
    "stream": ("text", "graph", "graph_even"),
}

Group = Literal["text", "history", "own times", "brand", "categories", "popularity", "times", "graph"]
ALWAYS: tuple[Group, ...] = ("text", "history")
"""Every shop has items with texts, and whoever asks has a history."""
GROUPS: tuple[Group, ...] = ("own times", "brand", "categories", "popularity", "times", "graph")
"""A shop may lack these."""
FLAGS: tuple[str, ...] = (*GROUPS, "density")
"""What a network is told of a shop: which of these it has, and how much is known of an item."""
ABSENT: dict[Tier, frozenset[Group]] = {
    "text_only": frozenset({"popularity", "times", "graph"}),
    "statistics": frozenset({"graph"}),
    "stream": frozenset(),
}
"""What a tier must not know, whatever the shop has."""
_OWN_TIMES = ("span", "last_gap", "events_of_last_day")
_TAKEN = ("taken", "taken_lately")


def rank_settings(tier: Tier, chosen: Foundation) -> Rank:
    """How candidates of a tier are found and read."""
    return Rank(
        voices=[*_VOICES[tier], *([f"{VIEW}:{ENCODER}"] if chosen.encoder else [])],
        evidence=list(_EVIDENCE[tier]),
        candidates=chosen.candidates,
        newest=chosen.newest,
        hidden=list(chosen.hidden),
        most_users=chosen.most_users,
    )


def group_of(feature: Feature) -> Group | None:
    """The group that a feature is missing with; None for what a foundation ranker does not read: whether the user has
    the item already, which the sources, where nobody takes an item twice, teach wrongly."""
    if feature.voice is not None:
        return "graph" if feature.voice in STREAM else "popularity" if feature.voice in STATISTICS else "text"
    if feature.name.startswith(("leaf.", "parent.")):
        return "categories"
    if feature.name.startswith("brand."):
        return "brand"
    if feature.group == COUNTS_AND_TIMES:
        return "popularity" if feature.name == "count" else "times"
    if feature.name in _TAKEN:
        return None
    return "own times" if feature.name in _OWN_TIMES else "history"
