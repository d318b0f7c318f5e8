"""The mean of weights: of what went on from one start, as a pair that is loaded as any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.errors import BadInput
from components.recommender.average import average
from components.recommender.engine import Engine
from components.settings.decoding import Decoding
from tests.recommender.pairs import save_pair


def test_the_mean_is_a_pair(make_model: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> None:
    """Prevents the weights of the first under another name, and a mean of networks that have none."""

    def other(*size: int, seed: int, kind: str) -> Any:
        return make_model(*size, seed=seed + 7, kind=kind)

    first, second = (save_pair(tmp_path / name, made, tokenizer) for name, made in (("a", make_model), ("b", other)))
    average([first, second], tmp_path / "mean")
    one, two, mean = (
        load_file(each / "recommender" / "model.safetensors") for each in (first, second, tmp_path / "mean")
    )
    assert mean.keys() == one.keys()
    for name, tensor in mean.items():
        assert torch.allclose(tensor, (one[name] + two[name]) / 2)
    assert not all(torch.equal(mean[name], one[name]) for name in one)
    assert Engine.load(tmp_path / "mean", device="cpu").recommend([["B1"]], 2, Decoding(beams=6))[0]
    gpt = save_pair(tmp_path / "c", make_model, tokenizer, kind="bart")
    with pytest.raises(BadInput, match="other names or shapes"):
        average([first, gpt], tmp_path / "none")
    assert not (tmp_path / "none").exists()
