"""Micro-batches: the gradients of a rank's share of a step, some rows at a time, halved where memory runs out.

The loss of a step is a sum over target tokens, so the gradients of the pieces add up to the gradient of the whole: how
a share is cut changes no step beyond rounding (and which dropout masks are drawn). Ranks need not cut alike.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from components.errors import BadInput, first_line

_NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",
    "could not create a memory",
    "could not create a primitive",
)
"""How torch's CPU allocator, C++ and oneDNN (twice) say it, all as a plain RuntimeError."""


class BatchRows(Protocol):
    """Rows of a batch, not yet tensors."""

    def __len__(self) -> int: ...

    def share(self, rank: int, ranks: int) -> Any:
        """Every `ranks`-th row from `rank` on; of a share again, the same holds."""
        ...


@dataclass(frozen=True)
class Summed:
    """Loss and tokens of a share, summed over its pieces; the gradients of the sum lie in the parameters."""

    loss: Tensor
    """Sum of the token losses (nats), float64 scalar on the device."""
    tokens: int
    retries: int
    """Times that the step was begun again since the last one that was done, each with half the rows at a time."""


@dataclass
class MicroBatch:
    """How many rows go through the model at a time: `train.*.micro_batch` at first, less once memory ran out."""

    rows: int
    """0: the whole share."""
    retries: int = 0
    """Halvings that no step has reported yet: the compiler may fail after one, and the step be begun once more."""

    def gradients(
        self,
        share: BatchRows,
        loss: Callable[[Any], tuple[Tensor, int]],
        parameters: Iterable[torch.nn.Parameter],
        device: torch.device,
        *,
        begin: Callable[[], None],
    ) -> Summed:
        """Gradients of the summed `loss` of a share's rows. `begin` seeds what is drawn; it runs before each attempt.

        When an attempt runs out of memory its gradients are dropped and the step is done again from its beginning.
        Raises `BadInput` when a single row is too much.
        """
        owned = list(parameters)
        while True:
            begin()
            for parameter in owned:
                parameter.grad = None
            try:
                total, tokens = self._attempt(share, loss, device)
                retries, self.retries = self.retries, 0
                return Summed(total, tokens, retries)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
                said = first_line(error)
            # Here, not above: the exception held the frames of the attempt, and with them all of its tensors.
            for parameter in owned:
                parameter.grad = None
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            self._halve(len(share), said, device)
            self.retries += 1

    def _attempt(
        self, share: BatchRows, loss: Callable[[Any], tuple[Tensor, int]], device: torch.device
    ) -> tuple[Tensor, int]:
        total, tokens = torch.zeros((), dtype=torch.float64, device=device), 0
        pieces = -(-len(share) // (self.rows or max(len(share), 1)))
        for piece in range(pieces):
            part, count = loss(share.share(piece, pieces) if pieces > 1 else share)
            if part.requires_grad:
                part.backward()
            total += part.detach()
            tokens += count
        return total, tokens

    def _halve(self, rows: int, said: str, device: torch.device) -> None:
        tried = min(self.rows or rows, rows)
        if tried <= 1:
            raise BadInput(
                f"one row at a time does not fit into the memory of {device}: {said}",
                where="train",
                mend="lower train.size, train.max_history or train.max_item_tokens, or take a device with more memory",
            )
        self.rows = (tried + 1) // 2


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that there is no memory left, of a GPU or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _NO_MEMORY)
