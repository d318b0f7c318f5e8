"""How busy a device is with the model itself: floating-point operations of a T5 step, and where the time goes.

utilisation = training_flops(model.config, prompt_tokens, label_tokens) / seconds / peak
shares = where(step, cuda=False)   # {"products": 0.61, "attention": 0.08, ..., "idle": 0.1}
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_KINDS = {
    "attention": ("attention", "flash", "fmha", "sdpa"),
    "products": ("_linear_pointwise", "aten::mm", "aten::bmm", "aten::addmm", "baddbmm", "gemm", "cutlass", "nvjet"),
    "loss": ("log_softmax", "nll_loss", "cross_entropy", "exp2", "log2", "amax", "scatter"),
    "softmax_dropout": ("softmax", "dropout", "bernoulli"),
    "optimizer": ("adam", "foreach", "norm_cuda", "clip"),
    "embedding": ("embedding", "index"),
    "copies": ("copy", "memcpy", "memset", "cat", "fill", "contiguous"),
}
"""Buckets by what an operator's or kernel's name holds, the first that fits; what fits none is `elementwise`."""


def training_flops(config: Any, prompt_tokens: list[int], label_tokens: list[int]) -> float:
    """Operations of forward and backward over rows of so many tokens, padding not counted, two a multiply-add.

    Products with weights and of attention; the backward is twice the forward (Kaplan et al., 2020; Chowdhery et al.,
    2022, appendix B).
    """
    d, inner = config.d_model, config.num_heads * config.d_kv
    feed_forward = (3 if config.is_gated_act else 2) * d * config.d_ff
    total = 0
    for prompt, label in zip(prompt_tokens, label_tokens, strict=True):
        reading = prompt * (4 * d * inner + feed_forward) + 2 * prompt * prompt * inner
        own = label * (4 * d * inner + feed_forward) + 2 * label * label * inner
        across = 2 * label * d * inner + 2 * prompt * d * inner + 2 * label * prompt * inner
        total += config.num_layers * reading + config.num_decoder_layers * (own + across)
        total += label * d * config.vocab_size
    return 3.0 * 2.0 * total


def where(step: Callable[[], None], *, cuda: bool, steps: int = 3) -> dict[str, float]:
    """Shares of the time of a step by kind of work; on a GPU `idle` is the time without a kernel."""
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as found:
        started = time.perf_counter()
        for _ in range(steps):
            step()
        if cuda:
            torch.cuda.synchronize()
        wall = (time.perf_counter() - started) * 1e6
    seconds: dict[str, float] = {}
    for event in found.key_averages():
        on_device = event.device_type is torch.autograd.DeviceType.CUDA
        if cuda != on_device:
            continue
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        seconds[_kind(event.key)] = seconds.get(_kind(event.key), 0.0) + own
    whole = max(wall, sum(seconds.values())) if cuda else sum(seconds.values())
    if cuda:
        seconds["idle"] = whole - sum(seconds.values())
    return {kind: round(value / whole, 3) for kind, value in sorted(seconds.items(), key=lambda one: -one[1])}


def _kind(name: str) -> str:
    low = name.lower()
    return next((kind for kind, marks in _KINDS.items() if any(mark in low for mark in marks)), "elementwise")
