"""The two families of recommenders: which class reads a model, and which prompts it reads."""

from __future__ import annotations

from typing import Any

from components.errors import BadInput
from components.recommender.models.bart import BARTS, Bart
from components.recommender.models.causal import Causal
from components.recommender.models.interface import Recommender
from components.recommender.models.t5 import EncoderDecoder
from components.recommender.prompts.phrasings import OPENINGS, Prompts
from components.settings.train import Family


def recommender_of(family: Family, model: Any, *, end_token: int) -> Recommender:
    """The recommender over a Hugging Face model. `end_token`: of the tokenizer, which ends every ID.

    Raises `BadInput` for a model type that the family does not know.
    """
    if family == "decoder-only":
        return Causal(model, end_token=end_token)
    return Bart(model) if model.config.model_type in BARTS else EncoderDecoder(model)


def prompts_of(family: Family) -> Prompts:
    """The built-in phrasings. A decoder-only model writes right after the history: their words stand before it."""
    return Prompts(OPENINGS, open_ended=True) if family == "decoder-only" else Prompts()


def family_of(facts: dict[str, Any], *, where: str) -> Family:
    """The family that pair.json names; pairs from before there were two are encoder-decoders."""
    family = facts.get("family", "encoder-decoder")
    if family not in ("encoder-decoder", "decoder-only"):
        raise BadInput(f"unknown family {family!r}", where=where, mend="restore it (dvc checkout) or train again")
    return family
