"""A GPU that is not there: tensors that say `cuda:0`, computed on the CPU, refused wherever a GPU would refuse them.

    with pretended_gpu() as gpu:
        model.to("cuda")(input_ids.to("cuda"))             # the numbers of the CPU
    gpu.waits                                              # where the host had to wait for the device

It takes the branches that a GPU takes (`is_cuda`, `pick_device`, bf16) and raises where an operation mixes devices or
reads the device's memory as if it were the host's. Kernels, their speed and their rounding it cannot say anything
about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

_DEVICE = torch.device("cuda:0")
_HOST = torch.device("cpu")

_SAYS: dict[Any, Any] = {
    Tensor.device.__get__: _DEVICE,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: True,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: False,  # type: ignore[attr-defined]
    Tensor.get_device: 0,
}
"""What a tensor of the device answers about itself."""

_MOVES = {Tensor.to, Tensor.cuda, Tensor.cpu, Tensor.type}
_INDEXES = {Tensor.__getitem__, Tensor.__setitem__}
"""By tensors of the host, which are copied; by masks, whose count the host needs."""
_WAITS = {
    *(Tensor.item, Tensor.tolist, Tensor.__int__, Tensor.__float__, Tensor.__bool__, Tensor.__index__, Tensor.equal),
    *(Tensor.nonzero, torch.nonzero, Tensor.masked_select, torch.masked_select, torch.equal, Tensor.is_nonzero),
    *(Tensor.unique, torch.unique, Tensor.unique_consecutive, torch.unique_consecutive),
    *(Tensor.bincount, torch.bincount, Tensor.allclose, torch.allclose, Tensor.__contains__),
}
_REPEATS = {Tensor.repeat_interleave, torch.repeat_interleave}
_ASKS = {Tensor.data.__set__, torch._has_compatible_shallow_copy_type}
_FROM_HOST = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
_MAY_MIX = _MOVES | _ASKS | _FROM_HOST | {Tensor.copy_}
"""What is called to bring a tensor from one device to the other."""
_READS = {Tensor.numpy, Tensor.__array__}


class OnGpu(Tensor):
    """A tensor of the pretended device; its numbers lie where those of any tensor do."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


class _Parameter(OnGpu, nn.Parameter):
    """A parameter of a module that was moved there."""


class Gpu(TorchFunctionMode):
    """The pretended device, and what the host asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        """Calls after which the host cannot go on before the device is done, by name."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        mine = [leaf for leaf in leaves if isinstance(leaf, OnGpu)]
        target = next((_HOST if str(leaf) == "cpu" else _DEVICE for leaf in leaves if _names_device(leaf)), None)
        if func is Tensor.cpu:
            target = _HOST
        if func is Tensor.cuda:
            func, args, target = Tensor.to, (args[0], _DEVICE), _DEVICE
        if func in (torch.device, torch._C._nn._parse_to) or (not mine and target != _DEVICE):
            return func(*args, **kwargs)
        if mine and func in _SAYS:
            return _SAYS[func]
        if mine and func in _READS:
            raise TypeError(f"{func.__name__}: can't convert cuda:0 device type tensor to numpy")
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]  # how a module moves: the parameter stays itself
            args[0].__class__ = _Parameter if isinstance(args[1], OnGpu) else nn.Parameter
        self._count(func, args, kwargs, target)
        # In a backward pass PyTorch itself hands out gradients, as tensors of no class of ours.
        host = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, OnGpu) and leaf.dim()]
        may_mix = func in _MAY_MIX or torch._C._current_graph_task_id() != -1
        if mine and host and not may_mix and not (func in _INDEXES and _may_index(*args)):
            raise RuntimeError(f"{func.__name__}: expected all tensors on one device, found cuda:0 and cpu")
        args, kwargs = tree_map(_on_host, (args, kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        if target == _HOST:
            return tree_map_only(Tensor, lambda tensor: _apart(tensor.as_subclass(Tensor), mine), found)
        if not mine:
            found = tree_map_only(Tensor, lambda tensor: _apart(tensor, leaves), found)
        return tree_map_only(Tensor, _mine, found)

    def _count(self, func: Any, args: Any, kwargs: dict[str, Any], target: torch.device | None) -> None:
        """Count the call if the host waits in it."""
        across = func in _MOVES and (target == _HOST) == isinstance(args[0], OnGpu)
        waits = across and not kwargs.get("non_blocking")
        if func in _INDEXES:
            places = [place for place in tree_leaves(args[1]) if isinstance(place, Tensor)]
            waits = any(place.dtype is torch.bool or not isinstance(place, OnGpu) for place in places)
        if func in _REPEATS:
            waits = isinstance(args[-1], Tensor) and not kwargs.get("output_size")
        if func is torch.where:
            waits = len(args) == 1
        if waits or func in _WAITS or func in _FROM_HOST:
            self.waits[func.__name__] += 1


def _may_index(indexed: Tensor, places: Any, value: Any = None) -> bool:
    """Indices may lie on the host, for a tensor of the device, not the reverse; what is written there lies with it."""
    by = [place for place in tree_leaves(places) if isinstance(place, Tensor)]
    if not isinstance(indexed, OnGpu):
        return not any(isinstance(place, OnGpu) for place in by)
    return not by or not isinstance(value, Tensor) or isinstance(value, OnGpu) or not value.dim()


def _names_device(leaf: Any) -> bool:
    return isinstance(leaf, torch.device) or (isinstance(leaf, str) and leaf in ("cpu", "cuda", "cuda:0"))


def _on_host(leaf: Any) -> Any:
    return _HOST if _names_device(leaf) else leaf


def _apart(tensor: Tensor, others: list[Any]) -> Tensor:
    """What was moved between devices shares no memory with what it was."""
    shared = any(isinstance(other, Tensor) and Tensor.data_ptr(other) == Tensor.data_ptr(tensor) for other in others)
    return tensor.clone() if shared else tensor


def _mine(tensor: Tensor) -> Tensor:
    if isinstance(tensor, OnGpu):
        return tensor
    if tensor.requires_grad and tensor.is_leaf:  # made to learn: it, and not what it was made of, has a gradient
        return tensor.detach().as_subclass(OnGpu).requires_grad_()
    return tensor.as_subclass(OnGpu)


class _Event:
    """`torch.cuda.Event`."""

    def __init__(self, **_: Any) -> None: ...

    def record(self, stream: Any = None) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, other: Any) -> float:
        return 1.0


class _Autocast(torch.autocast):
    """`torch.autocast`, of the CPU: the numbers are computed there."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu", *args, **kwargs)


@contextmanager
def pretended_gpu() -> Iterator[Gpu]:
    """One GPU that has bf16, in this process, within the block."""
    says: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "Event": _Event,
        "current_stream": lambda device=None: None,
        "reset_peak_memory_stats": lambda device=None: None,
        "max_memory_allocated": lambda device=None: 0,
        "empty_cache": lambda: None,
        "manual_seed_all": lambda seed: None,
    }
    with ExitStack() as stack:
        for name, value in says.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch, "autocast", _Autocast))
        yield stack.enter_context(Gpu())
