"""The state of a training at one moment: all that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from components.textid.table.id_table import IdTable
from components.training.devices.cost import NOTHING, Spent

Weights = dict[str, Tensor]


@dataclass
class Place:
    """Where in the alternation the training stands: the next thing to do."""

    phase: int = 0
    """Number of the phase in `alternation.plan`."""
    epoch: int = 0
    """Epochs of the phase that are done, validation included."""
    batch: int = 0
    """Batches of the epoch that are done."""


@dataclass
class Sums:
    """Sums over the steps of the epoch so far."""

    loss: float = 0.0
    tokens: int = 0
    grad_norm: float = 0.0


@dataclass
class Best:
    """The best state by validation: both models and the table they belong to, which never part."""

    ndcg: float
    round: int
    epoch: int
    metrics: dict[str, float]
    table: IdTable
    generator: Weights
    recommender: Weights


@dataclass
class TrainingState:
    """The training itself. `optimizer` is that of the phase in progress: each phase starts with a fresh one, as its
    learning rate starts from zero and the IDs it learns are new."""

    generator: nn.Module
    recommender: nn.Module
    place: Place = field(default_factory=Place)
    sums: Sums = field(default_factory=Sums)
    optimizer: torch.optim.Optimizer | None = None
    table: IdTable | None = None
    best: Best | None = None
    phase_best: float = -1.0
    """Best validation NDCG of the phase in progress, and how many epochs ago it was (for `patience`)."""
    phase_stale: int = 0
    spent: Spent = NOTHING
    """As of the checkpoint that was loaded or written last."""
    steps: int = 0
    """Optimizer steps of all phases so far."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """Lines of training_log.jsonl."""


def weights_of(module: nn.Module) -> Weights:
    """Copies of a module's weights on the CPU, each shared one (T5's embeddings) once."""
    named = dict(module.named_parameters()) | {
        name: tensor for name, tensor in module.named_buffers() if name in module.state_dict()
    }
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in named.items()}


def restore_weights(module: nn.Module, weights: Weights) -> None:
    """Put `weights_of` back, in place. Raises `KeyError` for names that are not the module's."""
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    if unknown := set(weights) - set(own):
        raise KeyError(f"weights of another model: {sorted(unknown)[:3]}")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Weights:
    """AdamW's moments and step counts as flat tensors, "parameter/entry"; its settings are a function of the place."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}/{name}": value.detach().to("cpu", copy=True).contiguous()
        for number, entries in state.items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Weights) -> None:
    """Put `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split("/")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
