"""T5 and Llama from scratch as plain torch modules, for a process that asks one question, or serves.

    model = lean.load_model(folder)              # None for all that is not from scratch: the library reads it
    tokenizer = lean.load_tokenizer(folder)

Importing the library's models costs several times what the answer does (torch's compiler, distributed tensors,
losses of detectors). The same weights lie here under the same names, so that `T5` and `Causal` read them as they read
the library's; what trains, evaluates and scores keeps those, and a test holds both to the same answers.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from components.networks.cpu import use_cpu_kernels

_READ: dict[str, dict[str, Any]] = {
    "t5": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
    "llama": {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True},
}
"""What the configuration of a network from scratch says, by its type; others are the library's."""
_EMBEDDINGS = ("shared", "embed_tokens", "relative_attention_bias")


def load_model(folder: Path) -> nn.Module | None:
    """The network in a folder whose manifest was verified, in evaluation mode; None where the library has to read it,
    or has to say what is wrong."""
    try:
        config = SimpleNamespace(**{"is_encoder_decoder": False, **json.loads((folder / "config.json").read_text())})
        if not _is_from_scratch(config):
            return None
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError):
        return None
    kind = _T5 if config.model_type == "t5" else _Llama
    return use_cpu_kernels(kind(config, weights).eval())


def _is_from_scratch(config: SimpleNamespace) -> bool:
    wanted = _READ.get(config.model_type)
    if wanted is None or any(getattr(config, name) != value for name, value in wanted.items()):
        return False
    if config.model_type == "t5":
        return True
    rope = config.rope_parameters["rope_type"]
    return bool(rope == "default" and config.num_key_value_heads == config.num_attention_heads)


class Tokenizer:
    """A tokenizer from scratch: as much of the library's as prompts are put together with."""

    bos_token_id = None

    def __init__(self, folder: Path) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self.eos_token_id = self._tokenizer.token_to_id(settings["eos_token"])

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id."""
        return dict(self._tokenizer.get_vocab())


class _Network(nn.Module):
    """What a `LanguageModel` asks of any network."""

    _embeddings: nn.Module
    _output: nn.Linear

    def __init__(self, config: SimpleNamespace, weights: dict[str, Tensor], embeddings: str) -> None:
        super().__init__()
        self.config = config
        for name, part in _modules(weights, epsilon=_epsilon(config)).named_children():
            self.add_module(name, part)
        found: Any = self.get_submodule(embeddings)
        self._embeddings, self._output = found, _linear(found.weight)

    def get_input_embeddings(self) -> nn.Module:
        return self._embeddings

    def get_output_embeddings(self) -> nn.Linear:
        return self._output


class _T5(_Network):
    """A T5 with ReLU (Raffel et al., 2020), as parts: components/networks/t5.py puts them together."""

    encoder: Any
    decoder: Any

    def __init__(self, config: SimpleNamespace, weights: dict[str, Tensor]) -> None:
        super().__init__(config, weights, "shared")
        for stack, both_ways in ((self.encoder, True), (self.decoder, False)):
            stack.embed_tokens = self._embeddings
            first = stack.block[0].layer[0].SelfAttention
            first.compute_bias = functools.partial(_distance_bias, first.relative_attention_bias, config, both_ways)
            for block in stack.block:
                block.layer[-1].DenseReluDense.act = nn.ReLU()


def _distance_bias(
    biases: nn.Embedding, config: Any, both_ways: bool, queries: int, keys: int, *, device: Any
) -> Tensor:
    """[1, heads, queries, keys]: half of the buckets are for a distance each, the others grow as its logarithm."""
    distance = torch.arange(keys, device=device)[None, :] - torch.arange(queries, device=device)[:, None]
    buckets = config.relative_attention_num_buckets
    bucket = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        bucket, distance = (distance > 0).long() * buckets, distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    growth = torch.log(distance.float() / exact) / math.log(config.relative_attention_max_distance / exact)
    far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    values: Tensor = biases(bucket + torch.where(distance < exact, distance, far))
    return values.permute(2, 0, 1)[None]


class _Llama(_Network):
    """A Llama (Touvron et al., 2023) with as many key heads as heads."""

    model: Any

    def __init__(self, config: SimpleNamespace, weights: dict[str, Tensor]) -> None:
        super().__init__(config, weights, "model.embed_tokens")
        self._size = int(config.head_dim)
        places = torch.arange(0, self._size, 2, dtype=torch.float) / self._size
        self._frequencies = nn.Buffer(1.0 / config.rope_parameters["rope_theta"] ** places, persistent=False)

    @property
    def base_model(self) -> Any:
        """What `Causal` calls."""
        return self._read

    def empty_cache(self) -> _Cache:
        """What `_read` fills, where `Causal` would take the library's."""
        return _Cache()

    def _read(
        self,
        *,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> SimpleNamespace:
        """Hidden states after all layers. attention_mask: [rows, 1, n, keys] bool; None: each sees those before it."""
        hidden: Tensor = inputs_embeds
        if position_ids is None:
            position_ids = torch.arange(hidden.shape[1], device=hidden.device)[None]
        angles = (position_ids[..., None].float() * self._frequencies)[:, None]
        angles = torch.cat([angles, angles], -1)
        turns = angles.cos(), angles.sin()
        for number, layer in enumerate(self.model.layers):
            attention, normed = layer.self_attn, layer.input_layernorm(hidden)
            queries, keys, values = (
                part(normed).unflatten(2, (-1, self._size)).transpose(1, 2)
                for part in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            queries, keys = _turned(queries, *turns), _turned(keys, *turns)
            if past_key_values is not None:
                keys, values = past_key_values.update(keys, values, number)
            blend = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=attention_mask, is_causal=attention_mask is None
            )
            hidden = hidden + attention.o_proj(blend.transpose(1, 2).flatten(2))
            mlp, normed = layer.mlp, layer.post_attention_layernorm(hidden)
            hidden = hidden + mlp.down_proj(functional.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))
        return SimpleNamespace(last_hidden_state=self.model.norm(hidden))


class _Cache:
    """Keys and values of each layer, as the library's cache gives them back."""

    def __init__(self) -> None:
        self.layers: list[SimpleNamespace] = []

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        self.layers.append(SimpleNamespace(keys=keys, values=values))
        return keys, values


def _turned(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions (Su et al., 2021), the halves of a head being the pairs."""
    first, second = states.chunk(2, -1)
    return states * cosines + torch.cat([-second, first], -1) * sines


def _epsilon(config: SimpleNamespace) -> float:
    return float(config.layer_norm_epsilon if config.model_type == "t5" else config.rms_norm_eps)


def _modules(weights: dict[str, Tensor], *, epsilon: float) -> nn.Module:
    """Modules nested as the names of the weights say: a matrix is a linear layer or an embedding, a vector a norm."""
    inner: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        head, _, rest = name.partition(".")
        inner.setdefault(head, {})[rest] = weight
    if all(name.isdecimal() for name in inner):
        return nn.ModuleList(_modules(inner[str(number)], epsilon=epsilon) for number in range(len(inner)))
    whole = nn.Module()
    for name, own in inner.items():
        part = _layer(name, own["weight"], epsilon) if list(own) == ["weight"] else _modules(own, epsilon=epsilon)
        whole.add_module(name, part)
    return whole


def _layer(name: str, weight: Tensor, epsilon: float) -> nn.Module:
    if name in _EMBEDDINGS:
        return nn.Embedding.from_pretrained(weight)
    if weight.dim() == 2:
        return _linear(weight)
    norm = nn.RMSNorm(len(weight), eps=epsilon, device="meta")
    norm.weight = nn.Parameter(weight, requires_grad=False)
    return norm


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
