"""Start a command so that everything it starts can be found again, whatever its group or parent: by its environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

_MARK = "IDIOM_TEST_STARTED_BY"


class Marked:
    """A running command and what came of it."""

    def __init__(self, *command: str, cwd: Path, environment: Mapping[str, str] = os.environ, **more: str) -> None:
        """Start `python -m COMMAND` in a session of its own, as a terminal would; its output goes to said.txt.

        more: further variables of its environment.
        """
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        self.log = cwd / "said.txt"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=cwd,
                env={**environment, **more, **dict([self._mark.split("=")])},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def living(self) -> dict[int, str]:
        """Process number -> command line of all that carry the mark, the command itself included."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it ended, or belongs to somebody else
                continue
        return found

    def left(self, seconds: float) -> dict[int, str]:
        """What still lives after the command has ended, at the latest after some seconds."""
        self.process.wait(timeout=seconds)
        until = time.monotonic() + seconds
        while (found := self.living()) and time.monotonic() < until:
            time.sleep(0.2)
        return found

    def end(self) -> None:
        """Kill all of it, for the end of a test that failed."""
        for number in self.living():
            os.kill(number, 9)
        self.process.wait()
