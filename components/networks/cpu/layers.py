"""What our models compute otherwise than the library, in place: weights, names and state dict stay as they are.

model = use_cpu_kernels(model)        # every model that `backbone.py` builds or reads
model = use_library_kernels(model)    # the way back: what people write today, which a benchmark compares with
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from components.networks.cpu.dropout_bits import Dropout
from components.networks.cpu.onednn import Linear

_OURS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Linear, nn.Dropout: Dropout}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}

M = TypeVar("M", bound=nn.Module)


def use_cpu_kernels(module: M) -> M:
    """Let every linear layer and dropout of a model be ours; returns the model."""
    return _changed(module, _OURS)


def use_library_kernels(module: M) -> M:
    """Let them be PyTorch's; returns the model."""
    return _changed(module, _THEIRS)


def _changed(module: M, kinds: dict[type[nn.Module], type[nn.Module]]) -> M:
    for part in module.modules():
        if type(part) in kinds:
            part.__class__ = kinds[type(part)]  # type: ignore[assignment]  # they differ in their forward alone
    return module
