"""The training loop of every phase: steps, averaging over ranks, clipping, learning rate, checkpoints, stops.

A phase defines its batches and its loss; the loop knows nothing of IDs or users.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from components.errors import BadInput
from components.progress import Progress
from components.settings.train import MetaLearning
from components.training.checkpoints.checkpoint import Checkpointer
from components.training.checkpoints.state import Place, Sums, TrainingState
from components.training.crash import crash_point
from components.training.devices.forward import Compiled
from components.training.devices.micro_batch import BatchRows, MicroBatch, Summed
from components.training.devices.ranks import Ranks
from components.training.steps.reptile import Reptile
from components.training.steps.seeds import seed_torch

_READ_EVERY = 32
"""Steps between two looks at losses on a GPU: each look waits for the device."""


class Phase(Protocol):
    """What the loop asks of a phase."""

    name: str
    round: int
    epochs: int
    peak_lr: float
    micro_batch: MicroBatch
    compiled: Compiled

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        ...

    def batches(self, epoch: int) -> Sequence[BatchRows]:
        """The batches of an epoch, about equally many in each: a function of seed and epoch alone."""
        ...

    def loss(self, rows: Any) -> tuple[Tensor, int]:
        """Of some rows of a batch, at least one: sum of their token losses, with gradient, and how many tokens."""
        ...

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        """After an epoch: add to its log line `row`; true ends the phase early."""
        ...


@dataclass(frozen=True)
class Optimisation:
    """What all phases share."""

    seed: int
    weight_decay: float
    grad_clip: float
    warmup_share: float
    meta: MetaLearning | None = None
    """Of the phase `recommender` alone: it learns to adapt."""

    def optimizer(self, module: nn.Module, phase: str) -> torch.optim.Optimizer:
        """A fresh one for a phase."""
        if self.meta and phase == "recommender":
            return Reptile(_trained(module), inner=self.meta.inner, step=self.meta.step, **self._how)
        return self.adamw(module)

    def adamw(self, module: nn.Module) -> torch.optim.Optimizer:
        """A fresh AdamW."""
        return torch.optim.AdamW(_trained(module), **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        """`fused` updates all weights in one pass, deterministic on CPU and GPU alike."""
        return {"lr": 0.0, "weight_decay": self.weight_decay, "fused": True}

    def rate(self, phase: Phase, step: int, steps: int) -> float:
        """Learning rate of a step of a phase."""
        return learning_rate(step, steps=steps, peak=phase.peak_lr, warmup_share=self.warmup_share)


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def learning_rate(step: int, *, steps: int, peak: float, warmup_share: float) -> float:
    """Rate of `step` (counted from 0) out of `steps`.

    It rises linearly over the first `warmup_share` of the steps (at least one), then falls along half a cosine to just
    above zero at the last step. A pure function, so that no checkpoint holds a scheduler.
    """
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (steps - warmup + 1)))


def train_phase(
    phase: Phase, state: TrainingState, how: Optimisation, ranks: Ranks, checkpointer: Checkpointer, progress: Progress
) -> None:
    """Run what is left of a phase, from `state.place` on; the optimizer and the gradients are gone at the end.

    Raises `Interrupted` between two steps when a signal came, and `BadInput` when the loss is no longer a number.
    """
    place = state.place
    state.optimizer = state.optimizer or how.optimizer(phase.module, phase.name)
    while place.epoch < phase.epochs:
        batches = phase.batches(place.epoch)
        if place.batch < len(batches):
            _epoch(phase, batches, state, how, ranks, checkpointer, progress)
        row = _row(phase, state, len(batches), how)
        enough = phase.end_epoch(place.epoch, row)
        state.log.append(row)
        state.sums = Sums()
        place.epoch, place.batch = phase.epochs if enough else place.epoch + 1, 0
        _report(row, state.steps, progress)
        if place.epoch < phase.epochs:
            # Several ranks agree on a stop in a step: one that left here would leave the others waiting in the next.
            checkpointer.boundary(stop=checkpointer.stop.requested and ranks.size == 1, due=checkpointer.due())
    state.optimizer = None
    phase.module.zero_grad()


def _epoch(
    phase: Phase,
    batches: Sequence[Any],
    state: TrainingState,
    how: Optimisation,
    ranks: Ranks,
    checkpointer: Checkpointer,
    progress: Progress,
) -> None:
    """The steps of one epoch, from `state.place.batch` on."""
    place, optimizer = state.place, state.optimizer
    assert optimizer is not None
    steps, started, begun = len(batches) * phase.epochs, time.monotonic(), place.batch
    unread: list[tuple[Tensor, int, Tensor]] = []
    task = f"{phase.name}, round {phase.round}"
    while place.batch < len(batches):
        step = place.epoch * len(batches) + place.batch
        rate = how.rate(phase, step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        own = _gradients(phase, batches[place.batch].share(ranks.rank, ranks.size), place, how, ranks, progress)
        whole = ranks.combine(phase.module.parameters(), own.loss, own.tokens, checkpointer.stop.requested, own.retries)
        if whole.retries:
            _tell_halved(phase, state, ranks, progress)
        norm = _clip(phase.module, how.grad_clip)
        optimizer.step()
        unread.append((whole.loss, whole.tokens, norm))
        place.batch += 1
        state.steps += 1
        crash_point(f"{phase.name}.batch")
        due = checkpointer.due()
        if due or whole.stop or ranks.device.type == "cpu" or len(unread) >= _READ_EVERY:
            _read(unread, state.sums, phase)
        progress.advance(task, step + 1, steps, force=step + 1 == steps)
        checkpointer.boundary(stop=whole.stop, due=due)
    _read(unread, state.sums, phase)
    progress.metrics(
        {f"{phase.name}/batches_per_s": (len(batches) - begun) / (time.monotonic() - started)}, step=state.steps
    )


def _gradients(
    phase: Phase, share: BatchRows, place: Place, how: Optimisation, ranks: Ranks, progress: Progress
) -> Summed:
    """This rank's gradients of a step, done again from its beginning where memory or the compiler did not suffice."""

    def begin() -> None:
        seed_torch(how.seed, phase.name, phase.round, place.epoch, place.batch, ranks.rank)

    def attempt() -> Summed:
        return phase.micro_batch.gradients(share, phase.loss, phase.module.parameters(), ranks.device, begin=begin)

    try:
        with phase.compiled:
            return attempt()
    except Exception as error:
        said = phase.compiled.give_up(error)
        progress.note(said)
        if not ranks.first:  # whose progress nobody hears
            print(said, file=sys.stderr)
    return attempt()


def _tell_halved(phase: Phase, state: TrainingState, ranks: Ranks, progress: Progress) -> None:
    """Agree on the rows that every rank has memory for, and say so where people look: here, in the log, in MLflow."""
    micro = phase.micro_batch
    micro.rows = ranks.smallest(micro.rows or sys.maxsize)
    place = {"phase": phase.name, "round": phase.round, "epoch": state.place.epoch + 1, "batch": state.place.batch + 1}
    state.log.append({"event": "out_of_memory", **place, "rows": micro.rows})
    progress.note(
        f"out of memory in {phase.name}, round {phase.round}: the step was done again, from here on with at most "
        f"{micro.rows} rows at a time on each rank (micro_batch sets this beforehand)"
    )
    progress.metrics({f"{phase.name}/rows_at_a_time": micro.rows}, step=state.steps)


def _clip(module: nn.Module, largest: float) -> Tensor:
    """Norm of the gradient before clipping; 0 clips nothing."""
    return nn.utils.clip_grad_norm_(module.parameters(), largest if largest > 0 else math.inf)


def _read(unread: list[tuple[Tensor, int, Tensor]], sums: Sums, phase: Phase) -> None:
    """Add what the device has finished, in the order of the steps: the sums are equal however often this is called."""
    for loss, tokens, norm in unread:
        sums.loss += float(loss)
        sums.tokens += tokens
        sums.grad_norm += float(norm)
    unread.clear()
    if not math.isfinite(sums.loss):
        raise BadInput(
            f"the loss is {sums.loss}",
            where=f"phase {phase.name}, round {phase.round}",
            mend="lower the learning rate of that phase, or set train.precision to float32",
        )


def _row(phase: Phase, state: TrainingState, batches: int, how: Optimisation) -> dict[str, Any]:
    """Log line of an epoch: no clock in it, so that equal runs write equal logs."""
    return {
        "event": "epoch",
        "phase": phase.name,
        "round": phase.round,
        "epoch": state.place.epoch + 1,
        "steps": state.steps,
        "loss": state.sums.loss / max(state.sums.tokens, 1),
        "target_tokens": state.sums.tokens,
        "grad_norm": state.sums.grad_norm / max(batches, 1),
        "lr": how.rate(phase, (state.place.epoch + 1) * batches - 1, phase.epochs * batches),
    }


def _report(row: dict[str, Any], step: int, progress: Progress) -> None:
    """The figures of a log line to whoever listens, named PHASE/FIGURE."""
    names = sorted(set(row) - {"event", "phase", "steps"})
    figures = {f"{row['phase']}/{name}": float(row[name]) for name in names}
    progress.metrics(figures, step=step)
