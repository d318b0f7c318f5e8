"""Linear layers without gradient, on a CPU by the faster of torch's two matrix libraries.

`nn.Linear` in float32 asks MKL, which gives processors that are not Intel's its AVX2 kernels: 95 GFLOP/s on one core of
an EPYC of 2024, where oneDNN, which torch carries as well, reaches 205 to 230 with AVX-512. Both are float32, equal to
1e-5. Elsewhere (GPU, bf16, autocast, a torch without oneDNN) it is the usual product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """rows [..., d] times weight [n, d]: [..., n]. No gradient flows through it."""
    plain = rows.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled(rows.device.type)
    if _ONEDNN and plain and rows.device.type == "cpu":
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
        return product
    return functional.linear(rows, weight)


def apply(layer: Any, rows: Tensor) -> Tensor:
    """layer(rows); what is more than a linear layer without bias (an adapter, a quantised one) is called as is."""
    if type(layer) is nn.Linear and layer.bias is None:
        return product(rows, layer.weight)
    output: Tensor = layer(rows)
    return output
