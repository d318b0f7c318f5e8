"""What a process costs, with the processes that it started: seconds of the clock and of CPUs, peak memory.

meter = Meter()
...
meter.figures()      # {"wall_seconds": ..., "cpu_seconds": ..., "peak_rss_mib": ...}

Standard library only.
"""

from __future__ import annotations

import resource
import sys
import time

_PER_MIB = 2**20 if sys.platform == "darwin" else 2**10
"""Units of ru_maxrss in a MiB."""


class Meter:
    """Measures from its creation on."""

    def __init__(self) -> None:
        self._started, self._cpu = time.monotonic(), _cpu_seconds()

    def figures(self) -> dict[str, float]:
        """`cpu_seconds` of this process and of those it started and that have ended; `peak_rss_mib` of the largest of
        them, of a process as a whole."""
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return {
            "wall_seconds": time.monotonic() - self._started,
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "peak_rss_mib": peak / _PER_MIB,
        }


def _cpu_seconds() -> float:
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)
