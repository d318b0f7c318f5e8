"""Tiny random decoder-only models, and a recommender over a model of either family."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from components.recommender.models.families import recommender_of
from components.recommender.models.interface import Recommender

END = 1
CAUSAL_KINDS = ["llama", "qwen2", "qwen3", "gpt2"]

_MODELS: dict[str, tuple[type[Any], type[Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
}


def make_causal(kind: str, vocabulary: int, *, seed: int = 0, end_token: int = END, pad_token: int | None = 0) -> Any:
    """Two layers with weights of deviation 0.5, so that scores differ clearly; the Qwens share keys between heads."""
    torch.manual_seed(seed)
    config, model = _MODELS[kind]
    common = {"vocab_size": vocabulary, "eos_token_id": end_token, "bos_token_id": None, "pad_token_id": pad_token}
    common |= {"initializer_range": 0.5}
    if kind == "gpt2":
        return model(config(**common, n_embd=16, n_layer=2, n_head=2, n_positions=640)).eval()
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2 if kind == "llama" else 1, "head_dim": 8}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 640}
    return model(config(**common, **heads, **sizes)).eval()


def recommender_over(model: Any) -> Recommender:
    """The recommender of the family that the model is of."""
    family = "encoder-decoder" if model.config.is_encoder_decoder else "decoder-only"
    return recommender_of(family, model, end_token=END)
