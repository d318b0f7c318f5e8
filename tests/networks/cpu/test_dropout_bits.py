"""Our dropout: what torch's promises, by fewer random numbers."""

from __future__ import annotations

import pytest
import torch

from components.networks.backbone import build
from components.networks.cpu import use_library_kernels
from components.networks.cpu.dropout_bits import Dropout, dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_stays(share: float, dtype: torch.dtype) -> None:
    """Prevents a share or a scale that is off, numbers that are never dropped, and a gradient of other ones."""
    torch.manual_seed(17)
    values = torch.ones(1001, 999, dtype=dtype, requires_grad=True)  # no multiple of the four that a draw is for
    found = dropout(values, share)
    assert found.dtype is dtype
    assert float((found == 0).double().mean()) == pytest.approx(share, abs=0.002)
    assert float(found.detach().double().mean()) == pytest.approx(1.0, abs=0.02)
    assert float(found[found != 0].detach().double().max()) == pytest.approx(1 / (1 - share), rel=0.005)
    for side in (0, 1):  # no row and no column is luckier than others
        assert float((found == 0).double().mean(side).std()) < 0.02
    found.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, found.detach())


def test_the_seed_decides() -> None:
    """Prevents a training that cannot be repeated, and one that drops the same numbers in every step."""
    values = torch.ones(100, 7)
    torch.manual_seed(1)
    first, second = dropout(values, 0.3), dropout(values, 0.3)
    torch.manual_seed(1)
    assert torch.equal(dropout(values, 0.3), first) and not torch.equal(first, second)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_and_everything_can_be_dropped(share: float) -> None:
    """Prevents a division by zero at the ends."""
    assert torch.equal(dropout(torch.ones(10), share), torch.full((10,), 1.0 - share))


def test_a_model_drops_while_it_trains_alone() -> None:
    """Prevents recommendations by chance, and a T5 whose dropout is not ours."""
    model = build("scratch", size="micro", vocabulary_size=50, dropout=0.2)
    dropouts = [part for part in model.modules() if isinstance(part, torch.nn.Dropout)]
    assert dropouts and all(type(part) is Dropout for part in dropouts)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        calm, again = (model(input_ids=ids, decoder_input_ids=ids).logits for _ in range(2))
        assert torch.equal(calm, again)
        model.train()
        assert not torch.equal(model(input_ids=ids, decoder_input_ids=ids).logits, calm)
    assert not any(type(part) is Dropout for part in use_library_kernels(model).modules())
