"""What a figure was taken on; every benchmark prints it beside its figures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from components.processes.environment import cores

_WIDE = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
"""Instruction sets that decide how fast matrix products are, and in bf16 whether they are at all; a model name that a
hypervisor shortens ("AMD EPYC") says nothing of them."""


def facts() -> dict[str, Any]:
    """`cpu`, `instructions`, `cores`, `threads` and `versions`."""
    return {
        "cpu": _cpuinfo("model name") or platform.processor(),
        "instructions": sorted(_WIDE & set(_cpuinfo("flags").split())),
        "cores": cores(),
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "transformers")},
        },
    }


def _cpuinfo(name: str) -> str:
    """What Linux says of the first core; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
