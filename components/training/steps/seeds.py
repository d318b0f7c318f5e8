"""Every random draw of the training is a function of its place, so that a resumed run draws what it would have drawn.

Nothing about random generators has to be stored: each step seeds them from (seed, phase, round, epoch, step, rank), and
a checkpoint holds that place.
"""

from __future__ import annotations

import numpy as np
import torch

from components.sampling import derive


def rng(seed: int, *place: int | str) -> np.random.Generator:
    """A fresh NumPy generator for a place."""
    return np.random.default_rng(derive(seed, *place))


def seed_torch(seed: int, *place: int | str) -> None:
    """Seed PyTorch (CPU and GPUs) for a place: dropout masks and fresh weights then depend on nothing else."""
    torch.manual_seed(derive(seed, *place))
