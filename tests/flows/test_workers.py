"""How many processes `idiom score` and `idiom ablate` start where nobody says."""

from __future__ import annotations

import pytest
import torch

from components.settings.params import Params
from flows import score
from flows.ablation import run


@pytest.mark.parametrize(
    ("device", "gpus", "threads", "workers"),
    [
        ("auto", 0, 1, 6),
        ("auto", 0, 4, 1),
        ("auto", 0, 12, 1),
        ("cpu", 2, 1, 6),
        ("auto", 1, 1, 1),
        ("auto", 2, 1, 2),
        ("cuda:1", 2, 1, 1),
    ],
)
def test_a_process_for_each_gpu_or_core(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, threads: int, workers: int
) -> None:
    """Prevents as many copies of the model on one GPU as its machine has cores."""
    monkeypatch.setattr(score, "cores", lambda: 6)
    monkeypatch.setattr(score.shutil, "which", lambda name: name if gpus else None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert score.default_workers(device, threads) == workers


@pytest.mark.parametrize(("driver", "jobs"), [(None, 6), ("/usr/bin/nvidia-smi", 1)])
def test_a_training_for_each_core_or_one_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, driver: str | None, jobs: int
) -> None:
    """Prevents trainings that share a GPU's memory, and a machine of which one core works."""
    monkeypatch.setattr(run, "cores", lambda: 6)
    monkeypatch.setattr(run.shutil, "which", lambda name: driver)
    assert run._jobs(Params(dataset="shop")) == jobs
