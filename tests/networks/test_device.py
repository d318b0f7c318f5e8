"""The device that is asked for, or bad input; no GPU is needed to ask for one."""

from __future__ import annotations

import pytest
import torch

from components.errors import BadInput
from components.networks.device import pick_device


@pytest.fixture
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [(0, "auto", "cpu"), (0, "cpu", "cpu"), (2, "auto", "cuda:1"), (2, "cuda", "cuda:1"), (2, "cuda:0", "cuda:0")],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_a_process_takes_its_own_gpu(name: str, device: str) -> None:
    """Prevents two ranks on the first GPU of two, and a named one that becomes another."""
    assert pick_device(name, local_rank=1) == torch.device(device)


@pytest.mark.parametrize(
    ("gpus", "name", "said"),
    [(0, "cuda:7", "cuda:7"), (0, "cuda", "cuda:1"), (1, "cuda", "cuda:1"), (1, "cuda:256", "cuda:256")],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_is_not_there_is_bad_input(name: str, said: str) -> None:
    """Prevents torch's traceback from a worker on a machine with fewer GPUs than were asked for."""
    with pytest.raises(BadInput, match=rf"device {said} (?s:.*)--device(?s:.*)give auto, cpu or"):
        pick_device(name, local_rank=1, where="--device")


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", "xpu", "vulkan", "cpu:0", "cuda:", "cuda:-1", "cuda:01", ""])
def test_a_name_that_is_no_device_is_bad_input(name: str) -> None:
    """Prevents torch's list of thirty backends in place of the four names that Idiom knows, and one of the thirty that
    is taken and fails in the middle of the work."""
    with pytest.raises(BadInput, match=rf"unknown device '{name}'(?s:.*)auto, cpu, cuda or cuda:N"):
        pick_device(name)
