"""A catalogue as a foundation ranker reads it: the voices of all tiers, built once, and a reader for each tier.

shop = Readers.build(learned, Foundation(), core=5)
shop["text_only"].blocks(histories, days)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from components.foundation.columns import for_shop
from components.foundation.standard import Standard
from components.foundation.tiers import TIERS, Tier, rank_settings
from components.ranking import shared
from components.ranking.reading import Reader
from components.ranking.views import relations_of
from components.settings.foundation import Foundation
from components.settings.voices import Voices
from components.voices.learned import Learned


@dataclass(frozen=True)
class Readers:
    """Readers of one set of training histories, and how each tier's features are standardised."""

    readers: Mapping[Tier, Reader]
    voices: Voices
    """The settings of the voices, with this catalogue's text columns."""
    standards: Mapping[Tier, Standard]

    @classmethod
    def build(
        cls,
        learned: Learned,
        chosen: Foundation,
        voices: Voices | None = None,
        *,
        core: int,
        tiers: tuple[Tier, ...] = TIERS,
    ) -> Self:
        """Build the voices of the largest of `tiers`; smaller ones share them. `core`: as `Reader.build` has it."""
        own = for_shop(voices or Voices(), learned.texts)
        largest = max(tiers, key=TIERS.index)
        whole = Reader.build(learned, rank_settings(largest, chosen), own, core=core)
        # No source has views, so that no feature reads them; explanations state relations that items share.
        arrays = {**whole.arrays, **shared.tails(learned, relations_of(learned.views))}
        readers: dict[Tier, Reader] = {}
        for tier in tiers:
            rank = rank_settings(tier, chosen)
            readers[tier] = Reader({name: whole.voices[name] for name in rank.voices}, arrays, rank)
        standards: dict[Tier, Standard] = {}
        for tier, reader in readers.items():
            if tier == "text_only":
                standards[tier] = Standard.of_texts(reader, learned)
            else:
                ask = {"most": chosen.standard_users, "seed": learned.seed}
                standards[tier] = Standard.of(reader, tier, learned.histories, learned.days, **ask)
        return cls(readers, own, standards)
