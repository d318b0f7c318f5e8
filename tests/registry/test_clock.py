"""A machine whose clock was moved back: versions, aliases and decisions go by number and tag, never by time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.registry import promotion
from components.registry.register import register
from components.registry.store import connect
from flows.promote import undecided
from tests.registry.workspace import build
from tests.workspaces import REPOSITORY

EARLIER = """
import sys, time
from pathlib import Path
from components.registry import promotion
from components.registry.register import register
from components.registry.store import connect
from tests.registry.workspace import build

workspace = Path(sys.argv[1])
assert time.time() < float(sys.argv[2]) - 30 * 86_400, "the clock was not moved"
layout, params = build(workspace, weights=b"other weights")
made = register(params, layout)
assert made["version"] == 2 and made["aliases"] == ["challenger"], made
assert register(params, layout)["version"] == 2
client = connect(workspace)
with promotion.one_at_a_time(client, "idiom", who="ada"):
    pass
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not there (infra/stack.sh installs it)")
def test_a_clock_that_was_moved_back(workspace: Path) -> None:
    """Prevents: an older model that passes for the newer one, a version registered twice, a lock held for ever."""
    layout, params = build(workspace)
    assert register(params, layout)["aliases"] == ["champion"]
    done = subprocess.run(
        ["faketime", "-f", "-40d", sys.executable, "-c", EARLIER, str(workspace), str(time.time())],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    client = connect(workspace)
    assert promotion.aliases(client, "idiom") == {"champion": "1", "challenger": "2"}
    assert undecided(workspace, params) == "2"
    one, two = (client.get_model_version("idiom", number) for number in ("1", "2"))
    assert two.creation_timestamp < one.creation_timestamp  # as the clock said
    promotion.promote(client, "idiom", "2", expected="1", tags={}, why="better")
    assert promotion.aliases(client, "idiom")["champion"] == "2"
    assert promotion.roll_back(client, "idiom", None, why="a test") == ("2", "1")
    layout, params = build(workspace, weights=b"third weights")
    assert register(params, layout)["version"] == 3
    assert {run.info.status for run in client.search_runs(["1"])} == {"FINISHED"}
