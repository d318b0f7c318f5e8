"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.processes.environment import prepare

# Offline, and one torch thread per process: two test processes share two cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare()

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets; the test is skipped where it does not lie beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not there: {SHARED_DATA}")
    return SHARED_DATA
