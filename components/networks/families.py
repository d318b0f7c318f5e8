"""The families of language models: which class reads a Hugging Face model, and which models none can read.

model = language_model(build("scratch", vocabulary_size=4096), end_token=1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.errors import BadInput
from components.networks import bart, causal, t5
from components.networks.encoder_decoder import EncoderDecoder
from components.networks.interface import LanguageModel
from components.settings.train import Family

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def language_model(model: Any, *, end_token: int) -> LanguageModel:
    """The language model over a Hugging Face model. `end_token`: of the tokenizer, which ends every ID.

    Raises `BadInput` as `check_family` does.
    """
    if model.config.is_encoder_decoder:
        return seq2seq_model(model, end_token=end_token)
    check_family(model.config, "decoder-only", where="train.backbone")
    return causal.Causal(model, end_token=end_token)


def seq2seq_model(model: Any, *, end_token: int) -> EncoderDecoder:
    """The same of an encoder-decoder, which every ID generator is."""
    check_family(model.config, "encoder-decoder", where="train.backbone")
    kind: type[EncoderDecoder] = t5.T5 if model.config.model_type in t5.MODEL_TYPES else bart.Bart
    return kind(model, end_token=end_token)


def check_family(config: PreTrainedConfig, family: Family, *, where: str) -> None:
    """Raises `BadInput` for a configuration that is not of the family, or that the classes of this room cannot read."""
    kind = config.model_type
    if family == "decoder-only":
        mend = f"use a model of type {', '.join(causal.MODEL_TYPES)}, or backbone: scratch"
        if kind not in causal.MODEL_TYPES:
            raise BadInput(f"a {kind} cannot be a decoder-only recommender", where=where, mend=mend)
        if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
            raise BadInput("layers with sliding windows cannot be decoded", where=where, mend=mend)
        return
    mend = "use a T5, mT5, BART or mBART (google-t5/t5-small), or backbone: scratch"
    if not config.is_encoder_decoder:
        raise BadInput(f"a {kind} is no encoder-decoder", where=where, mend=mend)
    if kind not in (*t5.MODEL_TYPES, *bart.MODEL_TYPES):
        raise BadInput(f"a {kind} cannot be generator or recommender", where=where, mend=mend)
    if getattr(config, "decoder_start_token_id", None) is None:
        raise BadInput(
            "its config does not say which token the decoder starts with",
            where=where,
            mend="write decoder_start_token_id into its config.json (for an mBART its eos_token_id will do)",
        )
