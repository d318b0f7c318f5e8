"""One training on several processes (ranks): each takes its share of every batch, and gradients are averaged by hand.

The loss of a step is (sum over the target tokens of all ranks) / (their number), so a rank with longer targets weighs
more: two ranks with half a batch each take exactly the step that one rank takes with the whole batch.
DistributedDataParallel averages the ranks' means instead: another gradient whenever the token counts differ.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from components.errors import BadInput
from components.networks.device import pick_device
from components.storage.artifacts import publishing
from components.storage.manifest import verify_manifest, write_manifest


@dataclass(frozen=True)
class Ranks:
    """This process among its peers."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def combine(
        self, parameters: Iterable[torch.nn.Parameter], loss: Tensor, tokens: int, stop: bool, retries: int = 0
    ) -> StepSums:
        """Turn summed gradients into the mean over all ranks' tokens, in one all-reduce; equal on every rank after it.

        `loss` is this rank's sum over its `tokens` target tokens; `parameters` hold the gradient of that sum. A stop
        asked of any rank reaches all, so that they leave the loop after the same step.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        loss = loss.detach().double()
        if self.size == 1:
            for parameter in trained:
                if parameter.grad is not None:
                    parameter.grad.div_(max(tokens, 1))
            return StepSums(loss, tokens, stop, retries)
        # The facts go in float64: token counts beyond 2^24 are not exact in float32.
        facts = torch.stack([loss, *(loss.new_tensor(fact) for fact in (tokens, stop, retries))])
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(facts)
        dist.all_reduce(flat)
        all_tokens = int(facts[1].item())
        flat.div_(max(all_tokens, 1))
        start = 0
        for parameter in trained:
            parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        return StepSums(facts[0], all_tokens, bool(facts[2].item() > 0), int(facts[3].item()))

    def agree(self, value: int) -> int:
        """The first rank's `value`, on all ranks."""
        if self.size == 1:
            return value
        box = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.broadcast(box, 0)
        return int(box.item())

    def smallest(self, value: int) -> int:
        """The smallest `value` of any rank, on all ranks."""
        if self.size == 1:
            return value
        box = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.all_reduce(box, dist.ReduceOp.MIN)
        return int(box.item())

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        if self.size > 1:
            dist.barrier()

    def total(self, values: Tensor) -> Tensor:
        """Sum of `values` over all ranks."""
        if self.size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values


@dataclass(frozen=True)
class StepSums:
    """Loss, tokens and events of one step, summed over all ranks."""

    loss: Tensor
    """Sum over all ranks' target tokens (nats), float64 scalar; left on the device, so that reading it is a choice."""
    tokens: int
    stop: bool
    """Whether any rank was asked to stop."""
    retries: int
    """Times that ranks began the step again because their memory did not suffice."""


def write_once(folder: Path, key: str, ranks: Ranks, write: Callable[[Path], None]) -> Path:
    """Have the first rank fill `folder`, unless it is there, whole and of this `key`; the other ranks wait.

    Returns `folder`, which appears whole or not at all. What a killed process has left beside it is removed.
    """
    if ranks.first and not _whole(folder, key):
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(left)
        with publishing(folder) as temporary:
            temporary.mkdir()
            write(temporary)
            write_manifest(temporary, key=key)
    ranks.wait()
    return folder


def _whole(folder: Path, key: str) -> bool:
    try:
        return bool(verify_manifest(folder).get("key") == key)
    except BadInput:  # missing or damaged: it is made again, from inputs that are all there
        return False


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the group that torchrun announces in the environment (gloo on CPU, NCCL on GPUs); alone without it.

    Raises `BadInput` as `pick_device` does.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    here = pick_device(device, local_rank=local, where="train.device, train.ranks")
    if size == 1:
        yield Ranks(device=here)
        return
    if here.type == "cuda":
        torch.cuda.set_device(here)
    # How long one wait may take, not the training. The longest is that for the first rank, which packs the tables and
    # trains the tokenizer; one that takes longer is lost, and the others end.
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=timedelta(hours=12))
    try:
        yield Ranks(dist.get_rank(), size, here)
    finally:
        dist.destroy_process_group()


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On a CPU, refuse operations whose result depends on the order of threads; GPUs stay free to be fast."""
    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # Filling every fresh buffer costs time and guards against reading it unwritten, which no kernel here does.
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = fill
