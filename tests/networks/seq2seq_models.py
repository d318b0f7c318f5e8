"""Tiny random encoder-decoders: T5 (v1.0, and v1.1 with gates), mT5, BART, mBART."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

SEQ2SEQ_KINDS = ["t5", "t5-gated", "mt5", "bart", "mbart"]
"""Gated: as T5 v1.1. That one and mT5 have an output layer of their own."""

_BARTS: dict[str, tuple[type[Any], type[Any]]] = {
    "bart": (BartConfig, BartForConditionalGeneration),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
}


def make_seq2seq(kind: str, vocabulary: int, *, seed: int = 0) -> Any:
    """Two decoder layers, scores that differ clearly; padding is token 0 and the end token 1."""
    if kind in _BARTS:
        return make_bart(kind, vocabulary, seed=seed)
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": vocabulary, "d_model": 16, "d_kv": 8, "d_ff": 32}
    sizes |= {"num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
    if kind == "mt5":
        model: Any = MT5ForConditionalGeneration(MT5Config(**sizes))
    elif kind == "t5-gated":
        sizes |= {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
        model = T5ForConditionalGeneration(T5Config(**sizes))
    else:
        model = T5ForConditionalGeneration(T5Config(**sizes))
    # Fresh biases of the relative positions are near zero, and a mistake in them would not show.
    for stack in (model.encoder, model.decoder):
        torch.nn.init.normal_(stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight, std=2.0)
    return model.eval()


def make_bart(kind: str, vocabulary: int, *, seed: int = 0, positions: int = 64, **tokens: int) -> Any:
    """Other heads in the decoder than in the encoder, scaled embeddings, an output bias: all that can differ.

    `tokens`: pad_token_id (0), eos_token_id (1), decoder_start_token_id (1).
    """
    torch.manual_seed(seed)
    config, model = _BARTS[kind]
    settings: dict[str, Any] = {"vocab_size": vocabulary, "d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 24}
    settings |= {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 2}
    settings |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "decoder_start_token_id": 1, **tokens}
    settings |= {"max_position_embeddings": positions, "scale_embedding": True, "init_std": 0.5, "dropout": 0.0}
    bart = model(config(**settings, forced_eos_token_id=None))
    for name, parameter in bart.named_parameters():
        if "norm" in name or "bias" in name:  # fresh ones do nothing, and a mistake in them would not show
            torch.nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.3)
    torch.nn.init.normal_(bart.final_logits_bias, std=2.0)
    return bart.eval()
