"""The device that a process computes on.

device = pick_device("auto")                           # cuda:0, or cpu where there is no GPU
"""

from __future__ import annotations

import torch

from components.errors import BadInput


def pick_device(name: str, *, local_rank: int = 0, where: str = "device") -> torch.device:
    """`auto` takes a GPU where there is one; of several, `cuda` and `auto` take the one numbered `local_rank`.

    Raises `BadInput`, at `where`, for a name that is none and for a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput(f"unknown device {name!r}", where=where, mend="auto, cpu, cuda or cuda:N") from error
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise BadInput(
            f"device {name} is asked for, {gpus} GPUs are here",
            where=where,
            mend="give auto, cpu or a GPU that is here; several ranks need one each",
        )
    return device
