"""Trains the network of the sequence voice; stopped at any step, it goes on there and ends with the same bytes (CPU).

Random numbers are a function of seed, epoch and step, so that a checkpoint holds none, and forty epochs are the first
forty of sixty: a longer training goes on from a shorter one. The result stays in the work folder too.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.errors import BadInput
from components.processes.signals import Stop
from components.recommender.batches.batch import IGNORED
from components.recommender.loss.output_loss import output_loss
from components.sampling import derive
from components.settings import voices as settings
from components.settings.params import to_dict
from components.storage.artifacts import publishing
from components.storage.manifest import digest, verify_manifest, write_manifest
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from components.voices.sequence_network import SequenceNetwork, padded

_STATE = "state.safetensors"


def train(learned: Learned, chosen: settings.Sequence) -> SequenceNetwork:
    """The trained network, from the last checkpoint in `learned.work` on. Raises `Interrupted` on a signal, once the
    state is saved (without a work folder signals do what they always do)."""
    filled = np.flatnonzero(learned.histories.lengths)
    torch.manual_seed(derive(learned.seed, "sequence", "start"))
    network = SequenceNetwork(len(learned.catalogue.table), chosen).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=chosen.lr, weight_decay=chosen.weight_decay, fused=True)
    each = -(-len(filled) // chosen.batch_size)
    end, saved, summed = each * chosen.epochs, time.monotonic(), np.zeros(2)
    folder, first = None, 0
    if learned.work is not None:
        folder = learned.work / f"sequence-{_key(learned, chosen)[:16]}" / f"{chosen.epochs}-epochs"
        first = _resume(folder.parent, end, network, optimizer)
    with _stop(listen=folder is not None) as stop:
        for step in range(first, end):
            epoch, batch = divmod(step, each)
            order = np.random.default_rng(derive(learned.seed, "sequence", "order", epoch)).permutation(filled)
            rows = order[batch * chosen.batch_size : (batch + 1) * chosen.batch_size]
            torch.manual_seed(derive(learned.seed, "sequence", epoch, batch))
            summed += _step(network, optimizer, learned.histories.take(rows), chosen)
            learned.progress.advance("sequence", step + 1, end, force=step + 1 == end)
            if batch + 1 == each:
                learned.progress.metrics({"sequence/loss": summed[0] / summed[1]}, step=epoch)
                summed = np.zeros(2)
            due = stop.requested or step + 1 == end or time.monotonic() - saved > chosen.save_minutes * 60
            if folder is not None and due:
                _save(folder, network, optimizer, step + 1)
                saved = time.monotonic()
            if folder is not None and stop.requested:
                raise stop.error()
    return network.eval()


def _stop(*, listen: bool) -> AbstractContextManager[Stop]:
    """A `Stop` that hears signals, or, unless `listen`, none."""
    return Stop().listening() if listen else nullcontext(Stop())


def _step(
    network: SequenceNetwork, optimizer: torch.optim.Optimizer, histories: Ragged, chosen: settings.Sequence
) -> tuple[float, int]:
    """One step: the sum of the losses (nats) of all items of some histories, and how many they are."""
    items = network.items.num_embeddings - 1
    tokens, lengths = padded(histories, chosen.max_length, start_token=items)
    labels = tokens[:, 1:].masked_fill(torch.arange(tokens.shape[1] - 1)[None, :] >= lengths[:, None], IGNORED)
    count = int(lengths.sum())
    with torch.autocast("cpu", torch.bfloat16, enabled=chosen.precision == "bf16"):
        hidden = network(tokens[:, :-1])
        loss = output_loss(hidden, network.items.weight[:-1], labels, count=count)
    optimizer.zero_grad()
    (loss / count).backward()
    optimizer.step()
    if not torch.isfinite(loss):
        mend = "lower voices.sequence.lr, or set voices.sequence.precision to float32"
        raise BadInput("the loss is no longer a number", where="voices.sequence", mend=mend)
    return loss.item(), count


def _key(learned: Learned, chosen: settings.Sequence) -> str:
    """What the result depends on beside the number of epochs, as a hash."""
    data = hashlib.sha256(learned.histories.offsets.astype("<i8").tobytes())
    data.update(learned.histories.values.astype("<i8").tobytes())
    knobs = {name: value for name, value in to_dict(chosen).items() if name not in ("save_minutes", "epochs")}
    return digest([data.hexdigest(), len(learned.catalogue.table), learned.seed, knobs])


def _save(folder: Path, network: SequenceNetwork, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    with publishing(folder) as temporary:
        temporary.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / _STATE)
        write_manifest(temporary, step=step)


def _resume(folder: Path, end: int, network: SequenceNetwork, optimizer: torch.optim.Optimizer) -> int:
    """Take the furthest saved state that is not past step `end`, and return its step; 0 where there is none."""
    saved = [(int(verify_manifest(path)["step"]), path) for path in folder.glob("*-epochs")]
    step, path = max((each for each in saved if each[0] <= end), default=(0, folder))
    if not step:
        return 0
    states: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    for name, tensor in load_file(path / _STATE).items():
        kind, _, rest = name.partition(".")
        if kind == "network":
            weights[rest] = tensor
        else:
            number, _, part = rest.partition(".")
            states.setdefault(int(number), {})[part] = tensor
    network.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return step
