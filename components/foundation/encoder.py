"""Vectors of a catalogue's texts as a voice of the foundation ranker: what says the same in other words.

learned = with_encoder(learned, Foundation(encoder="wordllama"))         # learned.views["encoder"], for `Readers.build`
"""

from __future__ import annotations

from dataclasses import replace

from components.foundation.tiers import ENCODER
from components.progress import Progress
from components.settings.foundation import Foundation
from components.views.texts import encoded
from components.voices.learned import Learned

_ITEMS_A_NUMBER = 4


def with_encoder(learned: Learned, chosen: Foundation, progress: Progress | None = None) -> Learned:
    """What is learned and, where `chosen` names an encoder, its vectors of all items; no history is read.

    Raises `BadInput` for what is no encoder, and where the shop has a view of that name.
    """
    if chosen.encoder is None:
        return learned
    texts = learned.texts["text"]
    dims = max(1, min(chosen.encoder_dims, len(texts) // _ITEMS_A_NUMBER))
    own = encoded(texts, {ENCODER: chosen.encoder}, dims=dims, taken=learned.views, progress=progress)
    return replace(learned, views={**learned.views, **own})
