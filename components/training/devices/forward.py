"""How the forward of a trained model runs: in bf16 or float32, compiled by torch.compile or eagerly.

    compiled = Compiled(model, "auto", device)
    with compiled, autocast("auto", device):
        ...                                 # calls of the model run compiled, forward and backward
    ...                                     # decoding and validation: eagerly, as before

One graph for all shapes (`dynamic`) holds the whole forward (`fullgraph`). What cannot be compiled raises; `give_up`
then decides whether to go on eagerly and says so, where torch would only warn.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal

import torch
from torch import nn

from components.errors import BadInput, first_line


class Compiled:
    """A module whose calls run compiled inside the block, in place: names of its weights stay as they are.

    `mode` is `train.compile`. A Hugging Face model is compiled up to its output layer, whose loss computes in blocks
    (`recommender/loss/output_loss.py`): its base model, or its encoder and its decoder.
    """

    def __init__(self, module: nn.Module, mode: Literal["auto", "on", "off"], device: torch.device) -> None:
        self._modules = _parts(module)
        self._required = mode == "on"
        self.wanted = mode == "on" or (mode == "auto" and device.type == "cuda")
        self._calls: list[Any] = []

    def __enter__(self) -> None:
        if not self.wanted:
            return
        if not self._calls:
            for module in self._modules:
                module.compile(dynamic=True, fullgraph=True)
            self._calls = [module._compiled_call_impl for module in self._modules]
        for module, call in zip(self._modules, self._calls, strict=True):
            module._compiled_call_impl = call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module in self._modules if self.wanted else ():
            module._compiled_call_impl = None  # torch has `compile` and nothing to undo it

    def give_up(self, error: Exception) -> str:
        """Go on without; returns what to tell. Raises `error` if it is not the compiler's, `BadInput` for mode `on`."""
        if not self.wanted or not from_compiler(error):
            raise error
        if self._required:
            raise BadInput(
                f"torch.compile failed: {first_line(error)}",
                where="train.compile",
                mend="set it to auto, which goes on without, or to off; a C++ compiler (CPU) or Triton (GPU) is needed",
            ) from error
        self.wanted = False
        return f"torch.compile failed, training goes on without it: {first_line(error)}"


def autocast(precision: Literal["auto", "float32", "bf16"], device: torch.device) -> AbstractContextManager[None]:
    """bf16 where `precision` says so; auto: on a GPU that has it. Weights and gradients stay float32."""
    # Without the argument, older GPUs that only emulate bf16, slower than float32, would count as having it.
    on = precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(False))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=on)


def _parts(module: Any) -> list[Any]:
    """The modules that a phase calls."""
    if getattr(getattr(module, "config", None), "is_encoder_decoder", False):
        return [module.get_encoder(), module.get_decoder()]
    return [getattr(module, "base_model", module)]


def from_compiler(error: Exception) -> bool:
    """Whether an exception comes from tracing or compiling and not from the model."""
    # Imported here: a second, and only a run that compiles gets so far.
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return isinstance(error, (TorchDynamoException, FailOnRecompileLimitHit))
