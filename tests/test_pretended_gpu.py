"""The pretended GPU refuses what a GPU refuses: one that bears everything would pass every program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from components.networks.device import pick_device
from tests.pretended_gpu import Gpu, pretended_gpu


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with pretended_gpu() as pretended:
        yield pretended


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: torch.cat([here, there]),
        lambda there, here: nn.functional.linear(there, here[None]),
        lambda there, here: there.index_select(0, here.long()),
        lambda there, here: here.add_(there),
        lambda there, here: nn.Linear(3, 3)(there),
        lambda there, here: here[there.long()],
        lambda there, here: here.__setitem__(there.long(), 0.0),
        lambda there, here: there.__setitem__(there.long(), here),
    ],
)
def test_devices_do_not_mix(gpu: Gpu, mix: Callable[[Tensor, Tensor], Any]) -> None:
    with pytest.raises(RuntimeError, match="one device"):
        mix(torch.ones(3, device="cuda"), torch.ones(3))


@pytest.mark.parametrize("read", [lambda tensor: tensor.numpy(), np.asarray])
def test_the_host_cannot_read_its_memory(gpu: Gpu, read: Callable[[Tensor], Any]) -> None:
    with pytest.raises(TypeError, match="cuda:0"):
        read(torch.ones(3, device="cuda"))
    read(torch.ones(3, device="cuda").cpu())


@pytest.mark.parametrize(
    ("wait", "waits"),
    [
        (lambda tensor: tensor.sum().item(), 1),
        (lambda tensor: tensor.tolist(), 1),
        (lambda tensor: bool(tensor.any()), 1),
        (lambda tensor: tensor.cpu(), 1),
        (lambda tensor: tensor[tensor > 0], 1),
        (lambda tensor: tensor[torch.tensor([1])], 1),
        (lambda tensor: torch.ones(3).to(tensor.device), 1),
        (lambda tensor: torch.ones(3).to(tensor.device, non_blocking=True), 0),
        (lambda tensor: tensor.repeat_interleave(tensor.long()), 1),
        (lambda tensor: tensor.repeat_interleave(tensor.long(), output_size=3), 0),
        (lambda tensor: tensor * 2 + 1, 0),
        (lambda tensor: tensor.to(torch.float64), 0),
        (lambda tensor: torch.where(tensor > 0), 1),
        (lambda tensor: torch.where(tensor > 0, tensor, 0.0), 0),
        (lambda tensor: torch.bincount(tensor.long()), 1),
        (lambda tensor: torch.allclose(tensor, tensor), 1),
        (lambda tensor: 1.0 in tensor, 1),
    ],
)
def test_waits_are_counted(gpu: Gpu, wait: Callable[[Tensor], Any], waits: int) -> None:
    tensor = torch.ones(3, device="cuda")
    before = sum(gpu.waits.values())
    wait(tensor)
    assert sum(gpu.waits.values()) - before == waits


def test_what_is_made_there_says_so(gpu: Gpu) -> None:
    """Everything that asks for a device, and everything made of what lies there."""
    made = [torch.zeros(2, device="cuda"), torch.tensor([1.0, 2.0], device=pick_device("auto")), torch.ones(2).cuda()]
    made += [torch.zeros_like(made[0]), made[0].new_ones(2), made[1] * 2, made[1].topk(1).values, made[2].view(1, 2)]
    assert {(str(tensor.device), tensor.is_cuda) for tensor in made} == {("cuda:0", True)}
    assert (str(made[0].cpu().device), torch.zeros(2).is_cuda) == ("cpu", False)


def test_the_two_memories_are_apart(gpu: Gpu) -> None:
    """A copy that shared its memory would hide a result that nobody brought back."""
    here = torch.zeros(2)
    there = here.to("cuda")
    there += 1
    back = there.to("cpu")
    back += 1
    assert (here.tolist(), there.tolist(), back.tolist()) == ([0, 0], [1, 1], [2, 2])


def test_a_module_moves_and_learns(gpu: Gpu) -> None:
    """Parameters stay the same objects, so that shared ones stay shared and an optimizer keeps them."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = model[0].weight.tolist()
    model.to("cuda")
    model(torch.ones(1, 2, device="cuda")).sum().backward()
    optimizer.step()
    assert model[0].weight is model[1].weight
    assert model[0].weight.is_cuda
    assert model[0].weight.tolist() != before
    model.to("cpu")
    assert {type(parameter) for parameter in model.parameters()} == {nn.Parameter}


def test_it_is_gone_afterwards() -> None:
    before = torch.cuda.is_available, torch.cuda.Event, torch.autocast
    with pretended_gpu() as pretended:
        assert torch.cuda.is_available()
        assert pretended in _get_current_function_mode_stack()
    assert (torch.cuda.is_available, torch.cuda.Event, torch.autocast) == before
    assert not _get_current_function_mode_stack()
