"""Tiny random decoder-only models, and a language model over a model of either family."""

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

from components.networks.families import language_model
from components.networks.interface import LanguageModel
from tests.networks.seq2seq_models import make_seq2seq

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


def model_over(model: Any) -> LanguageModel:
    """The language model of the family that a Hugging Face model is of."""
    return language_model(model, end_token=END)


def make_model(vocabulary: int, *, seed: int = 0, kind: str = "t5", dtype: torch.dtype = torch.float32) -> Any:
    """A random two-layer model of any kind, whose scores differ clearly."""
    make = make_causal if kind in CAUSAL_KINDS else make_seq2seq
    return make(kind, vocabulary, seed=seed).to(dtype)
