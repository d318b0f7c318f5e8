"""Kernels for the CPU that are faster than PyTorch's own. Other rooms import them from here; the files are private.

model = use_cpu_kernels(model)              # linear layers and dropout of a model, in place
model = use_library_kernels(model)          # the way back, which benchmarks compare with
"""

from components.networks.cpu.dropout_bits import dropout
from components.networks.cpu.layers import use_cpu_kernels, use_library_kernels
from components.networks.cpu.normaliser import LOG2_E, log_sum_exp
from components.networks.cpu.onednn import linear, weight_gradient
from components.networks.cpu.threads import on_threads

__all__ = [
    "LOG2_E",
    "dropout",
    "linear",
    "log_sum_exp",
    "on_threads",
    "use_cpu_kernels",
    "use_library_kernels",
    "weight_gradient",
]
