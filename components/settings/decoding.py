"""How lists are decoded: the settings that evaluation, serving and scoring share.

    recommender.recommend(histories, 10, Decoding(beams=20, mask_seen=False))
    Decoding.of(read_json(bundle / "params.json")["evaluate"])       # as a model was evaluated

Sections that hold further settings, such as `evaluate`, extend it and are passed in its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from components.settings.bounds import MOST_BEAMS, Section, bounded

Scores = Literal["vocabulary", "trie"]
Mode = Literal["generate", "rank", "hybrid"]
"""Who answers, of a bundle that holds both: the language model, the ranker over voices, or both in one list."""


@dataclass(frozen=True, kw_only=True)
class Decoding(Section):
    """Settings of one way to decode; how many items are wanted is the caller's. Only `mask_seen` concerns a
    recommender that searches nothing."""

    beams: int = bounded(20, low=1, high=MOST_BEAMS)
    """Beams of the search. An answer of more items takes as many beams as items, and whoever gives it says so."""
    scores: Scores = "trie"
    """log-softmax over the whole vocabulary, or normalised over the legal children."""
    length_penalty: float = bounded(0.0, low=-5.0, high=5.0)
    """Score = sum of log-probabilities / length^penalty."""
    mask_seen: bool | None = None
    """Leave out items that the user has already. null: as `clean.drop_repeats` was when the recommender was made
    (`Catalogue.masks`): where people take an item once they are left out, where they buy again they are not."""
    batch_users: int = bounded(64, low=1)
    """Users decoded at a time."""
    mode: Mode | None = None
    """Who answers, where a bundle holds a ranker. null: as was chosen on validation when the bundle was made."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scores not in get_args(Scores):
            raise ValueError(f"scores is {self.scores!r}; give one of {', '.join(get_args(Scores))}")
        if self.mode not in (None, *get_args(Mode)):
            raise ValueError(f"mode is {self.mode!r}; give one of {', '.join(get_args(Mode))}, or null")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Those of `settings` that are decoding settings; what it lacks has its default."""
        return cls(**{spec.name: settings[spec.name] for spec in dataclasses.fields(cls) if spec.name in settings})
