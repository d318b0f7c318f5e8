"""Tiny models and catalogues for the room of words."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from components.networks.backbone import build
from tests.networks.seq2seq_models import make_bart


def tiny_t5(vocabulary_size: int = 23, seed: int = 1) -> PreTrainedModel:
    """A random T5 whose next token depends strongly on what it read, so that beams differ between items."""
    model = build("scratch", size="d_model=16,layers=2,heads=2,d_ff=32", vocabulary_size=vocabulary_size, seed=seed)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(3.0)
    return model


def tiny_bart(vocabulary_size: int = 23, seed: int = 1) -> PreTrainedModel:
    """A random BART: absolute positions, another attention, another start token, an output bias."""
    return make_bart("bart", vocabulary_size, seed=seed)


@pytest.fixture(params=["t5", "bart"])
def tiny_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """Each family of encoder-decoders that the room supports."""
    return tiny_t5() if request.param == "t5" else tiny_bart()


def padded(rows: list[list[int]], width: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and attention_mask [n, width] of rows of unequal length."""
    width = width or max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask
