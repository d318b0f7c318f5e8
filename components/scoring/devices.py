"""Choose the GPU of a scoring process on a machine with several.

Teams do not number their processes alike, and Dask's workers come and go: each process counts for itself. It holds the
lowest number that nobody on its machine holds, by a lock that ends with the process however that ends.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TextIO

import torch

from components.storage.lock import take, users_lock

_held: list[TextIO] = []


@cache
def own_device(name: str) -> str:
    """`name`, but for `auto` on a machine with several GPUs: there, in turn, one of them for each process."""
    gpus = torch.cuda.device_count()
    return f"cuda:{place(Path(tempfile.gettempdir())) % gpus}" if name == "auto" and gpus > 1 else name


def place(folder: Path) -> int:
    """The lowest number, from 0, that no living process holds in `folder`; held until this process ends."""
    number = 0
    while (stream := take(users_lock(folder, f"scoring-{number}"))) is None:
        number += 1
    _held.append(stream)
    return number
