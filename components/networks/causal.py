"""Decoder-only networks: a Llama from scratch, and which pretrained ones can be read.

model = scratch_causal(parse_size("tiny"), vocabulary_size=4096, dropout=0.1, pad_token=0, end_token=1)
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig

from components.errors import BadInput
from components.networks.cpu.dropout import dropout as drop_out

CAUSAL = ("llama", "qwen2", "qwen3", "gpt2")
"""Model types whose decoding is tested to equal the library's."""

_POSITIONS = 1024
"""Rotary positions are computed, not stored: this costs nothing. The longest prompt has 512 tokens."""


def scratch_causal(
    shape: dict[str, int], *, vocabulary_size: int, dropout: float, pad_token: int, end_token: int
) -> LlamaForCausalLM:
    """A Llama (Touvron et al., 2023: rotary positions, RMS norms, SwiGLU) with tied embeddings, and with dropout.

    `layers` are all layers, `d_ff` is the width of each of the three feed-forward matrices. Weights start with
    deviation 0.02, as the library's do; the first loss is log(vocabulary_size).
    """
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=shape["d_model"],
        intermediate_size=shape["d_ff"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        max_position_embeddings=_POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=pad_token,
        bos_token_id=None,
        eos_token_id=end_token,
    )
    model = LlamaForCausalLM(config)
    add_dropout(model, dropout)
    return model


def add_dropout(model: LlamaForCausalLM, share: float) -> None:
    """Dropout on the embeddings and on what each attention and feed-forward adds, while the model trains.

    Llama has none there, as billions of tokens need none; a catalogue's histories are read many times. A hook and not
    a layer, so that the checkpoint stays an ordinary Llama.
    """
    if share == 0.0:
        return

    def drop(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return drop_out(output, share) if module.training else output

    model.model.embed_tokens.register_forward_hook(drop)
    for layer in model.model.layers:
        layer.self_attn.o_proj.register_forward_hook(drop)
        layer.mlp.down_proj.register_forward_hook(drop)


def check_causal(config: PreTrainedConfig, *, where: str) -> None:
    """Raises `BadInput` for a model type that is not in `CAUSAL`, or one of them with sliding windows."""
    mend = f"use a model of type {', '.join(CAUSAL)}, or backbone: scratch"
    if config.model_type not in CAUSAL:
        raise BadInput(f"a {config.model_type} cannot be a decoder-only recommender", where=where, mend=mend)
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise BadInput("layers with sliding windows cannot be decoded", where=where, mend=mend)
