"""What our models compute otherwise than the library, in place: weights, names and state dict stay as they are.

model = use_cpu_kernels(model)        # every model that `backbone.py` builds or reads
model = use_library_kernels(model)    # the way back: what people write today, which a benchmark compares with
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from components.networks.cpu.onednn import Linear

M = TypeVar("M", bound=nn.Module)


def use_cpu_kernels(module: M) -> M:
    """Let every linear layer of a model multiply by `linear`; returns the model."""
    return _changed(module, nn.Linear, Linear)


def use_library_kernels(module: M) -> M:
    """Let them be PyTorch's; returns the model."""
    return _changed(module, Linear, nn.Linear)


def _changed(module: M, kind: type[nn.Linear], other: type[nn.Linear]) -> M:
    for part in module.modules():
        if type(part) is kind:
            part.__class__ = other  # type: ignore[assignment]  # they differ in their forward alone
    return module
