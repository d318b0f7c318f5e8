"""The normaliser without a maximum equals the obvious way."""

from __future__ import annotations

import pytest
import torch

from components.networks.cpu import log_sum_exp


@pytest.mark.parametrize("shift", [0.0, 60.0, 400.0, -60.0, -400.0])
def test_normaliser_of_logits_of_any_size(shift: float) -> None:
    """Exponentials that are not shifted overflow at 88 and vanish at -88: an infinite score, or none."""
    random = torch.Generator().manual_seed(3)
    hidden, weight = torch.randn(5, 9, generator=random), torch.randn(700, 9, generator=random)
    hidden[2:, 0], weight[:, 0] = shift, 1.0
    expected = (hidden.double() @ weight.double().T).logsumexp(1)
    torch.testing.assert_close(log_sum_exp(hidden, weight).double(), expected, rtol=1e-6, atol=1e-5)
