"""The backfill as a flow: how it ends is what the command said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def against_the_server(prefect_server: Any) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api, PREFECT_HOME: prefect_server.home}):
        yield


@pytest.mark.parametrize(("code", "name"), [(0, "Completed"), (2, "BadInput"), (130, "Interrupted"), (1, "Failed")])
def test_the_state_is_the_exit_code(mini: Any, monkeypatch: pytest.MonkeyPatch, code: int, name: str) -> None:
    """Prevents: a backfill of which a window failed that says Completed."""
    from flows import backfill_flow as module

    asked: list[tuple[Any, ...]] = []

    def command(*words: Any) -> list[str]:
        asked.append(words)
        return [sys.executable, "-c", f"print('window 3 of 4'); raise SystemExit({code})"]

    monkeypatch.setattr(module, "command", command)
    state = module.backfill("2024-01-01", "2024-06-30", workspace=str(mini.root), return_state=True)
    assert state.name == name and "window 3 of 4" in state.message
    assert asked == [(Path(mini.root), "2024-01-01", "2024-06-30", 30, 1, None)]
