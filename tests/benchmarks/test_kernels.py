"""The benchmark of the CPU kernels runs, and what it compares with computes the same."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import kernels


def test_each_kernel_is_timed_in_each_piece_of_work_that_calls_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents more than one line of output, a kernel that was renamed, and one that stays switched off."""
    monkeypatch.setattr(sys, "argv", ["kernels", "--quick"])
    kernels.main()
    figures = json.loads(capsys.readouterr().out)
    assert all(figures[name] > 0 for name in figures if name.startswith(("ratio_", "seconds_")))
    for kernel in kernels.KERNELS:
        assert any(name.startswith("ratio_") and name.endswith(kernel) for name in figures), kernel
    assert figures["data"] == "synthetic"
