"""The best tokens of each row equal the top of the whole row's log-softmax."""

from __future__ import annotations

import pytest
import torch

from components.networks.cpu import log_probability, top_tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 300.0])
@pytest.mark.parametrize("legal", [3, 150, 700, 900])
def test_the_best_tokens_are_the_top_of_the_whole_row(legal: int, size: float, dtype: torch.dtype) -> None:
    """Prevents a best token that is missed because its parcel was not looked at, illegal ones let in, and scores in
    another unit where the sum of exponentials leaves the range of a float32."""
    rows = torch.randn(37, 900, generator=torch.Generator().manual_seed(4)) * size
    rows += torch.arange(900) * 1e-3 * size  # in bf16 many are equal, and any of those may come
    rows = rows.to(dtype)
    scores, places = top_tokens(lambda part: part.clone(), rows, columns=900, legal=legal, wanted=7)
    whole = rows.float().log_softmax(1)
    expected, columns = whole[:, :legal].topk(min(7, legal))
    assert torch.allclose(scores[:, :legal], expected, rtol=1e-5, atol=1e-5 * size)
    if dtype is torch.float32:
        assert torch.equal(places[:, :legal], columns)
    assert torch.equal(whole.gather(1, places[:, :legal]), expected)
    assert bool((scores[:, legal:] == float("-inf")).all())
    last = log_probability(lambda part: part, rows, columns=900, column=899)
    assert torch.allclose(last, whole[:, 899], rtol=1e-5, atol=1e-5 * size)
