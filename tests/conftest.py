"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.processes.environment import prepare
from tests.warm_server import started

# Offline, and one torch thread per process: two test processes share two cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare()
# Stores are those of the tests' own workspaces, never the one of who runs the tests.
for _name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
    os.environ.pop(_name, None)

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with the most slow tests first, those with servers before all: the processes of `make test` take a file at
    a time, and none should begin the longest when the others end."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        servers = {item.path for item in items if item.get_closest_marker("server")}
        items.sort(key=lambda item: (-slow[item.path] if item.path in servers else 0, -slow[item.path]))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def warm_server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of programs whose stages and ranks do not import the libraries again (warm_server.py)."""
    with started(tmp_path_factory.mktemp("warm") / "socket", repository) as environment:
        yield environment


@pytest.fixture(scope="module")
def warm(warm_server: dict[str, str]) -> Iterator[None]:
    """That environment for whatever the tests of a module start from here on."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in warm_server.items():
            patched.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets; the test is skipped where it does not lie beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not there: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium (tests/browser.py). Of a module: while it is open an event loop runs in this thread, and
    Prefect's functions would give coroutines."""
    from tests.browser import launched  # playwright, for the few that open pages

    with launched() as found:
        yield found
