"""Which GPU each process takes; the choice needs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from components.scoring.devices import own_device, place


def test_processes_spread_over_the_gpus_of_their_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prevents a Dask cluster whose workers all load their model on the first GPU of eight."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = []
    for _ in range(3):  # locks of one process exclude each other as those of several do
        own_device.cache_clear()
        found += [own_device("auto"), own_device("auto")]
    own_device.cache_clear()
    assert found == ["cuda:0", "cuda:0", "cuda:1", "cuda:1", "cuda:0", "cuda:0"]


@pytest.mark.parametrize(("name", "gpus"), [("auto", 0), ("auto", 1), ("cpu", 4), ("cuda:3", 4)])
def test_a_choice_that_is_none(monkeypatch: pytest.MonkeyPatch, name: str, gpus: int) -> None:
    """Prevents `cpu` or a named GPU that becomes another, and a number where there is no GPU to count."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert own_device.__wrapped__(name) == name


def test_the_place_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    """Prevents a worker that Dask starts again from moving to a GPU of its neighbours' for as long as they live."""
    code = """
import os, pathlib, sys
from components.scoring.devices import place
assert place(pathlib.Path(sys.argv[1])) == 0
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert [place(tmp_path), place(tmp_path)] == [0, 1]
