"""Cost of a phase: seconds of the clock and of the devices, peak memory; reported as progress, never in the log.

meter = Meter(ranks)
...                                      # the phase
progress.metrics(meter.figures("recommender_1"), step=steps)
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from components.training.devices.ranks import Ranks

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What, written to clear_refs, makes Linux begin the peak of resident memory anew (proc_pid_clear_refs(5))."""


@dataclass(frozen=True)
class Spent:
    """What the phase in progress has cost so far, in this and earlier processes; no part of the log."""

    seconds: float = 0.0
    """Of the clock."""
    device_seconds: float = 0.0
    """Of the first rank's GPU, or of its CPU threads; other ranks go on from it as from their own."""


NOTHING = Spent()


class Meter:
    """Measures from its creation on, on every rank; all ranks create and read it at the same places of the alternation.

    before: what the phase had cost when it was resumed.
    """

    def __init__(self, ranks: Ranks, before: Spent = NOTHING) -> None:
        self._ranks, self._before = ranks, before
        self._started, self._cpu = time.monotonic(), time.process_time()
        self._begin: torch.cuda.Event | None = None
        if ranks.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(ranks.device)
            self._begin = torch.cuda.Event(enable_timing=True)
            self._begin.record(torch.cuda.current_stream(ranks.device))
        else:
            _reset_peak()

    def spent(self) -> Spent:
        """What the phase has cost on this rank. On GPUs between two events in their queue, which is waited for."""
        if self._begin is not None:
            end = torch.cuda.Event(enable_timing=True)
            end.record(torch.cuda.current_stream(self._ranks.device))
            end.synchronize()
            device = self._begin.elapsed_time(end) / 1000
        else:
            device = time.process_time() - self._cpu
        seconds = time.monotonic() - self._started
        return Spent(self._before.seconds + seconds, self._before.device_seconds + device)

    def figures(self, phase: str) -> dict[str, float]:
        """`seconds/PHASE` of the clock; device seconds, summed over the ranks; peak memory in MiB, of the worst rank.

        On GPUs `peak_gpu_mib/` is what tensors took. On CPU `cpu_seconds/` are of all threads, `peak_rss_mib/` is
        resident memory: of the process, since the phase began or was resumed (on systems that cannot begin it anew:
        since the process did).
        """
        spent = self.spent()
        if self._begin is not None:
            kind, memory, peak = "gpu", "peak_gpu_mib", torch.cuda.max_memory_allocated(self._ranks.device)
        else:
            kind, memory, peak = "cpu", "peak_rss_mib", _peak_bytes()
        # Each rank fills in its own place, so that the sum over ranks is the list of all.
        costs = torch.zeros(self._ranks.size, 2, dtype=torch.float64)
        costs[self._ranks.rank] = torch.tensor([spent.device_seconds, peak / 2**20], dtype=torch.float64)
        costs = self._ranks.total(costs).cpu()
        return {
            f"seconds/{phase}": spent.seconds,
            f"{kind}_seconds/{phase}": float(costs[:, 0].sum()),
            f"{memory}/{phase}": float(costs[:, 1].max()),
        }


def _reset_peak() -> None:
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return  # another system, or a sandbox that forbids it: the peak is then that of the whole process


def _peak_bytes() -> int:
    if _STATUS.exists():
        lines = (line.split() for line in _STATUS.read_text().splitlines())
        if peaks := [int(words[1]) * 1024 for words in lines if words[:1] == ["VmHWM:"]]:
            return peaks[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of a sandbox whose kernel does not tell, or of macOS
    return peak if sys.platform == "darwin" else peak * 1024
