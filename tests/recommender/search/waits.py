"""What a GPU would make the host wait for: operations whose result, or its shape, the host must know to go on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_WAITS = {
    "aten::_local_scalar_dense",  # item(), int(), float(), bool(), tolist()
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::unique_dim",
    "aten::repeat_interleave",  # of counts on the device, without their sum
    "aten::bincount",
    "aten::lift_fresh",  # torch.tensor([...]): a copy from memory that is not pinned
}


class NoWaiting(TorchDispatchMode):
    """Raises where `torch.cuda.set_sync_debug_mode("error")` would, on any device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name == "aten::lift_fresh" and not args[0].numel():  # nothing to copy
            return func(*args, **(kwargs or {}))
        if name in _WAITS and not (kwargs or {}).get("output_size"):
            raise AssertionError(f"{name} waits for the device")
        if name in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
            places = [index for index in args[1] if isinstance(index, Tensor)]
            if any(index.dtype is torch.bool for index in places):
                raise AssertionError(f"{name} by a mask waits for its count")
        return func(*args, **(kwargs or {}))
