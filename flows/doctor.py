"""`idiom doctor`: checks what a run needs of this machine and of the workspace; each finding says how to mend it.

idiom doctor --fix        # and mends what is safe (doctor_state.py)
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from components.processes.environment import cores
from flows.doctor_state import Finding, Status, cache, code, graph, leftovers, locks, registered, store

FREE_GIB_FAIL, FREE_GIB_WARN = 1.0, 5.0
"""A demo run writes 0.1 GiB; each version of a T5-small pair about 0.5 GiB, twice (DVC's cache and MLflow)."""

# Without these a resolve succeeds and Prefect breaks at run time.
_MANDATORY = {
    "fastapi": ("<0.151", "from 0.151 the Prefect server answers workers with 422, from 0.155 it does not import"),
    "sqlalchemy": ("<2.1", "with 2.1 Prefect's scheduler dies silently: no scheduled run is ever created"),
}


def examine(workspace: Path, *, fix: bool = False) -> Iterator[Finding]:
    """All findings, one check after the other; of the machine, then of the workspace. fix: mend what is safe there."""
    for check in MACHINE:
        yield from check(workspace)
    for look in WORKSPACE:
        yield from look(workspace, fix)


def python(workspace: Path) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("ok", f"Python {version}")
    else:
        yield Finding("fail", f"Python {version}; 3.11 to 3.13 are supported", "make env finds python3.11")


def pins(workspace: Path) -> Iterator[Finding]:
    """Check the mandatory pins, then compare what is installed with constraints.txt."""
    from packaging.specifiers import SpecifierSet

    for name, (allowed, reason) in _MANDATORY.items():
        found = _version(name)
        if found is None:
            yield Finding("fail", f"{name} is not installed", "make env")
        elif found not in SpecifierSet(allowed):
            yield Finding("fail", f"{name} {found}, needed is {allowed}: {reason}", "make env")
        else:
            yield Finding("ok", f"{name} {found} ({allowed})")
    path = workspace / "constraints.txt"
    if not path.is_file():
        yield Finding(
            "warn", "there is no constraints.txt to compare versions with", "run in a clone of the repository"
        )
        return
    wrong, right = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("==")
        installed = _version(name) if pinned else None
        if installed is None:
            continue  # constraints.txt pins optional packages too
        # 2.13.0+cpu is 2.13.0, built for this machine.
        if installed.split("+")[0] == pinned:
            right += 1
        else:
            wrong.append(f"{name} {installed} (pinned {pinned})")
    if wrong:
        yield Finding("warn", f"{len(wrong)} versions differ from constraints.txt: {', '.join(wrong[:8])}", "make env")
    else:
        yield Finding("ok", f"{right} packages as pinned in constraints.txt")


def accelerator(workspace: Path) -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Finding("ok", f"GPU: {torch.cuda.get_device_name(0)}, {memory:.0f} GiB; torch {torch.__version__}")
        return
    if shutil.which("nvidia-smi"):
        yield Finding(
            "warn",
            f"there is an NVIDIA driver, but torch {torch.__version__} sees no GPU",
            "install the CUDA build of the pinned torch that fits this driver (PyTorch's installation page says how)",
        )
        return
    yield Finding("ok", f"no GPU: training runs on {cores()} CPU cores; torch {torch.__version__}")


def programs(workspace: Path) -> Iterator[Finding]:
    for name, needed in (
        ("git", "DVC and the lineage of a model version read the commit"),
        ("dvc", "it runs the stages"),
    ):
        if found := shutil.which(name):
            yield Finding("ok", f"{name}: {found}")
        else:
            mend = "install git" if name == "git" else "make env"
            yield Finding("fail", f"{name} is not on the PATH: {needed}", mend)


def disk(workspace: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(workspace).free / 2**30
    what, mend = f"{free:.1f} GiB free at {workspace}", "dvc gc --workspace drops old artifacts; idiom needs a few GiB"
    status: Status = "fail" if free < FREE_GIB_FAIL else "warn" if free < FREE_GIB_WARN else "ok"
    yield Finding(status, what, "" if status == "ok" else mend)


def servers(workspace: Path) -> Iterator[Finding]:
    """Check that the servers whose addresses are set answer; unset, everything is kept in the workspace."""
    from flows.servers import answers

    for variable, health, local in (
        ("MLFLOW_TRACKING_URI", "/health", "mlflow.db of the workspace"),
        ("PREFECT_API_URL", "/health", "a server of its own, or that of idiom ui"),
    ):
        address = os.environ.get(variable, "")
        if not address.startswith("http"):
            yield Finding(
                "ok", f"{variable} is {address or 'not set'}: {local if not address else 'no server to reach'}"
            )
        elif answers(address.rstrip("/") + health, seconds=5.0):
            yield Finding("ok", f"{variable}: {address} answers")
        else:
            yield Finding("fail", f"{variable}: {address} does not answer", f"start it, or unset {variable}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


MACHINE: tuple[Callable[[Path], Iterator[Finding]], ...] = (python, pins, accelerator, programs, disk, servers)
WORKSPACE: tuple[Callable[[Path, bool], Iterator[Finding]], ...] = (
    graph,
    code,
    store,
    registered,
    locks,
    cache,
    leftovers,
)
