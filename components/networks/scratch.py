"""A T5 and a Llama with random weights, in the sizes of `settings.sizes`.

model = scratch_t5(parse_size("tiny"), vocabulary_size=4096, dropout=0.1, pad_token=0, end_token=1)
model = scratch_llama(parse_size("tiny"), vocabulary_size=4096, dropout=0.1, pad_token=0, end_token=1)
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from components.networks.cpu import dropout as drop_out

_POSITIONS = 1024
"""Rotary positions are computed, not stored: this costs nothing. The longest prompt has 512 tokens."""


def scratch_t5(
    shape: dict[str, int], *, vocabulary_size: int, dropout: float, pad_token: int, end_token: int
) -> T5ForConditionalGeneration:
    """A T5 (Raffel et al., 2020) with ReLU and tied embeddings.

    Tied embeddings are initialised with deviation 1 and T5 scales the decoder's output by d_model^-0.5, so the logits
    of a new model have deviation 1 and its loss starts near log(vocabulary_size).
    """
    # The decoder starts on the padding token, as T5's; not a declared field of T5Config, so typed apart.
    start: dict[str, Any] = {"decoder_start_token_id": pad_token}
    config = T5Config(
        vocab_size=vocabulary_size,
        d_model=shape["d_model"],
        d_kv=shape["d_model"] // shape["heads"],
        d_ff=shape["d_ff"],
        num_layers=shape["layers"],
        num_decoder_layers=shape["layers"],
        num_heads=shape["heads"],
        dropout_rate=dropout,
        pad_token_id=pad_token,
        eos_token_id=end_token,
        **start,
    )
    return T5ForConditionalGeneration(config)


def scratch_llama(
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
