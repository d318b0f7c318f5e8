"""Our attention against torch's, which the library calls by default."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from components.networks.backbone import build
from components.networks.cpu import attention
from components.networks.cpu.attention import attend


class Layer:
    """What the library hands over of a layer."""

    def __init__(self, *, causal: bool, groups: int = 1) -> None:
        self.is_causal, self.num_key_value_groups = causal, groups


def drawn(*, asking: int, seen: int, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of 3 rows and 4 heads of 8, float64."""
    torch.manual_seed(asking)
    shapes = (3, 4, asking, 8), *[(3, 4 // groups, seen, 8)] * 2
    query, key, value = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    return query, key, value


MASK = torch.arange(9) < torch.tensor([9, 4, 1])[:, None, None, None]
CASES: dict[str, dict[str, Any]] = {
    "causal": {"asking": 9, "causal": True},
    "causal, key heads shared": {"asking": 9, "causal": True, "groups": 2},
    "one token": {"asking": 1, "causal": True},
    "all may be seen": {"asking": 5, "causal": False},
    "padding": {"asking": 5, "causal": False, "attention_mask": MASK},
    "padding as numbers": {"asking": 5, "causal": False, "attention_mask": torch.where(MASK, 0.0, -1e9).double()},
    "position bias": {"asking": 9, "causal": True, "position_bias": (1, 4, 9, 9)},
    "position bias and padding": {"asking": 9, "causal": False, "position_bias": (1, 4, 9, 9), "attention_mask": MASK},
    "not scaled": {"asking": 9, "causal": True, "scaling": 1.0},
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_torchs_attention(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents tokens that see what comes after them, or padding, and gradients of anything else."""
    how = dict(CASES[case])
    layer = Layer(causal=how.pop("causal"), groups=how.get("groups", 1))
    inputs = list(drawn(asking=how.pop("asking"), seen=9, groups=how.pop("groups", 1)))
    if "position_bias" in how:
        how["position_bias"] = torch.randn(how["position_bias"], dtype=torch.float64, requires_grad=True)
    mask = how.pop("attention_mask", None)
    wanted, _ = sdpa_attention_forward(layer, *inputs, mask, **how)  # type: ignore[arg-type]
    monkeypatch.setattr(attention, "sdpa_attention_forward", None)  # it is not what we compare
    found, _ = attend(layer, *inputs, mask, **how)
    assert found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-12, atol=1e-14)
    learnt = [*inputs, *([how["position_bias"]] if "position_bias" in how else [])]
    above = torch.randn_like(wanted)
    for own, theirs in zip(
        torch.autograd.grad(found, learnt, above), torch.autograd.grad(wanted, learnt, above), strict=True
    ):
        assert torch.allclose(own, theirs, rtol=1e-10, atol=1e-12)


def test_without_gradient_and_for_long_texts_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents scores of long texts in memory, and another rounding of what recommends."""
    asked = []
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *given, **how: asked.append(given) or (None, None))
    inputs = drawn(asking=9, seen=9)
    with torch.no_grad():
        attend(Layer(causal=True), *inputs, None)
    monkeypatch.setattr(attention, "_LARGEST", 80)
    attend(Layer(causal=True), *inputs, None)
    assert len(asked) == 2
    monkeypatch.setattr(attention, "_LARGEST", 81)
    attend(Layer(causal=True), *inputs, None)
    assert len(asked) == 2


def test_weights_are_dropped_while_training() -> None:
    """Prevents attention without its dropout: a share of the weights is dropped, the rest weighs more."""
    query, key, _ = drawn(asking=9, seen=9)
    value = torch.ones(3, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    found = attend(Layer(causal=False), query, key, value, None, dropout=0.5)[0].detach()
    assert 0.8 < float(found.mean()) < 1.2 and float(found.std()) > 0.1


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_our_models_call_it(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a library that stops asking for attention by name, or that ignores ours."""
    seen = []
    real = attention._suits
    monkeypatch.setattr(attention, "_suits", lambda *given: seen.append(real(*given)) or seen[-1])
    model: Any = build("scratch", family=family, size="micro", vocabulary_size=50)
    ids = torch.tensor([[5, 6, 7]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert seen and all(seen)
