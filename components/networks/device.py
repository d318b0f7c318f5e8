"""The device that a process computes on.

device = pick_device("auto")                           # cuda:0, or cpu where there is no GPU
"""

from __future__ import annotations

import re

import torch

from components.errors import BadInput

_NAMES = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]*))?")
"""What Idiom computes on. torch knows thirty more (mps, xpu, meta), none of which it was ever tested on."""


def pick_device(name: str, *, local_rank: int = 0, where: str = "device") -> torch.device:
    """`auto` takes a GPU where there is one; of several, `cuda` and `auto` take the one numbered `local_rank`.

    Raises `BadInput`, at `where`, for a name that is none and for a GPU that is not there.
    """
    if not _NAMES.fullmatch(name):
        raise BadInput(f"unknown device {name!r}", where=where, mend="auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{local_rank}"
    gpus = torch.cuda.device_count()
    # Of the name: torch keeps eight bits of the number, and 256 would be GPU 0.
    if name.startswith("cuda:") and int(name.removeprefix("cuda:")) >= gpus:
        raise BadInput(
            f"device {name} is asked for, {gpus} GPUs are here",
            where=where,
            mend="give auto, cpu or a GPU that is here; several ranks need one each",
        )
    return torch.device(name)
