"""torch.compile for the forward that a phase trains, and for nothing else that calls the same model.

    compiled = Compiled(model, "auto", device)
    with compiled:
        ...                                 # calls of the model run compiled, forward and backward
    ...                                     # decoding and validation: eagerly, as before

One graph for all shapes (`dynamic`), and the whole forward in it (`fullgraph`): what cannot be compiled raises, so that
running eagerly in its stead is a decision that `give_up` takes and says, never a warning that scrolls by.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal

import torch
from torch import nn

from components.errors import BadInput, first_line


class Compiled:
    """A module whose calls run compiled inside the block, in place: names of its weights stay as they are.

    `mode` is `train.compile`. A Hugging Face model is compiled up to its output layer, whose loss computes in blocks
    (`recommender/models/output_loss.py`): its base model, or its encoder and its decoder.
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
