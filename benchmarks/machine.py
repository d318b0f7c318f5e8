"""What a figure was taken on; every benchmark prints it beside its figures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from components.processes.environment import cores


def facts() -> dict[str, Any]:
    """`cpu`, `cores`, `threads` and `versions`."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "transformers")},
        },
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
