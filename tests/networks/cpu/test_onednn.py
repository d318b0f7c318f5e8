"""Linear layers by oneDNN compute what PyTorch's do, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from components.networks.backbone import build
from components.networks.cpu import onednn, use_cpu_kernels, use_library_kernels
from components.networks.cpu.onednn import Linear, _suits, linear


@pytest.fixture(autouse=True)
def _as_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN multiplies on any processor; it is not asked to where it is slower."""
    monkeypatch.setattr(onednn, "_FASTER", True)


@pytest.mark.parametrize(("rows", "inner", "outer"), [(70, 160, 400), (640, 96, 64), (3, 5, 7)])
@pytest.mark.parametrize("which", ["both", "rows", "weight"])
def test_product_and_gradients_are_those_of_pytorch(rows: int, inner: int, outer: int, which: str) -> None:
    """Prevents a transposed operand, and a gradient for who asked for none: frozen weights must cost nothing."""
    torch.manual_seed(rows)
    x, weight, above = torch.randn(2, rows // 2 or 1, inner), torch.randn(outer, inner), None
    found = []
    for product in (linear, functional.linear):
        own_x, own_weight = x.clone(), weight.clone()
        own_x.requires_grad_(which != "weight")
        own_weight.requires_grad_(which != "rows")
        out = product(own_x, own_weight)
        above = torch.randn_like(out) if above is None else above
        out.backward(above)
        found.append((out.detach(), own_x.grad, own_weight.grad))
    for ours, theirs in zip(*found, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_large_products_take_the_other_way_and_small_or_exact_ones_do_not() -> None:
    """Prevents a switch that is never on, and one that would round float64 or what autocast wants in bf16."""
    x, weight = torch.randn(512, 64), torch.randn(64, 64)
    assert _suits(x, weight) == torch.backends.mkldnn.is_available()
    assert not _suits(x.double(), weight.double())
    assert not _suits(x[:4], weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not _suits(x, weight)
        assert linear(x, weight).dtype is torch.bfloat16


def test_where_pytorchs_is_faster_it_is_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a generator step that takes a quarter longer on a processor that gains nothing from oneDNN."""
    monkeypatch.setattr(onednn, "_FASTER", False)
    assert not _suits(torch.randn(512, 64), torch.randn(64, 64))


def test_a_model_with_cpu_kernels_is_the_same_model() -> None:
    """Prevents weights under other names, a copy without the kernels, and layers that were missed."""
    model = build("scratch", size="d_model=64,layers=1,heads=2", vocabulary_size=300)
    layers = [part for part in model.modules() if isinstance(part, nn.Linear)]
    assert layers and all(type(part) is Linear for part in layers)
    assert all(type(part) is Linear for part in copy.deepcopy(model).modules() if isinstance(part, nn.Linear))
    other = use_library_kernels(copy.deepcopy(model))
    assert not any(type(part) is Linear for part in other.modules())
    assert list(other.state_dict()) == list(model.state_dict())
    tokens = torch.randint(3, 300, (8, 40))
    ours, theirs = (each(input_ids=tokens, decoder_input_ids=tokens[:, :6]).logits for each in (model, other))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_bias_and_transposed_rows() -> None:
    """Prevents a bias that is dropped, and rows read as they do not lie."""
    layer = use_cpu_kernels(nn.Linear(128, 128))
    x = torch.randn(96, 128)
    torch.testing.assert_close(layer(x), functional.linear(x, layer.weight, layer.bias))
    rows, weight = torch.randn(128, 512).T, torch.randn(256, 128)
    torch.testing.assert_close(linear(rows, weight), rows @ weight.T, atol=1e-3, rtol=1e-4)
