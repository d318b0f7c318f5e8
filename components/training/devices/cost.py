"""What a phase costs: seconds of the clock and of the devices, and the largest memory; for progress, never for the log.

meter = Meter(ranks)
...                                      # the phase
progress.metrics(meter.figures("recommender_1"), step=steps)
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import torch

from components.training.devices.ranks import Ranks

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What, written to clear_refs, makes Linux begin the peak of resident memory anew (proc_pid_clear_refs(5))."""


class Meter:
    """Counts from its making on, on every rank; all ranks make and read it at the same places of the alternation."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._started, self._cpu = time.monotonic(), time.process_time()
        self._begin: torch.cuda.Event | None = None
        if ranks.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(ranks.device)
            self._begin = torch.cuda.Event(enable_timing=True)
            self._begin.record(torch.cuda.current_stream(ranks.device))
        else:
            _reset_peak()

    def figures(self, phase: str) -> dict[str, float]:
        """`seconds/PHASE` of the clock; device seconds, summed over the ranks; peak memory in MiB, of the worst rank.

        On GPUs `gpu_seconds/` lie between two events in the device's queue and `peak_gpu_mib/` is what tensors took. On
        CPU `cpu_seconds/` are of all threads, `peak_rss_mib/` is resident memory: of the process, since the phase began
        (on systems that cannot begin it anew: since the process did).
        """
        seconds = time.monotonic() - self._started
        if self._begin is not None:
            end = torch.cuda.Event(enable_timing=True)
            end.record(torch.cuda.current_stream(self._ranks.device))
            end.synchronize()
            kind, memory = "gpu", "peak_gpu_mib"
            spent, peak = self._begin.elapsed_time(end) / 1000, torch.cuda.max_memory_allocated(self._ranks.device)
        else:
            kind, memory = "cpu", "peak_rss_mib"
            spent, peak = time.process_time() - self._cpu, _peak_bytes()
        # Each rank fills in its own place, so that the sum over ranks is the list of all.
        costs = torch.zeros(self._ranks.size, 2, dtype=torch.float64)
        costs[self._ranks.rank] = torch.tensor([spent, peak / 2**20], dtype=torch.float64)
        costs = self._ranks.total(costs).cpu()
        return {
            f"seconds/{phase}": seconds,
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
        return next(int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
