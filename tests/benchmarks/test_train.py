"""The utilisation that the training benchmark prints counts the operations that are really done."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.utilisation import training_flops, where
from components.networks.backbone import build
from components.networks.cpu import use_library_kernels
from components.networks.t5 import T5
from components.recommender.batches.batch import Batch
from components.recommender.loss.batch_loss import batch_loss


def test_flops_are_those_that_pytorch_counts() -> None:
    """Prevents a flattering utilisation: a layer counted twice, or a backward that is not done."""
    model = use_library_kernels(build("scratch", size="d_model=32,layers=2,heads=2", vocabulary_size=300, dropout=0.0))
    rows, prompt, label = 16, 24, 8  # 128 labels: the loss fills blocks of 64 up
    tokens = torch.randint(3, 300, (rows, prompt))
    batch = Batch(tokens, torch.ones_like(tokens), torch.randint(3, 300, (rows, label)), rows * label)
    # oneDNN's products have no count: the output layer's are PyTorch's own without it.
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        batch_loss(T5(model, end_token=1), batch).total.backward()
    # Flash attention recomputes its scores in the backward, which is no work of the model's.
    counted, ours = counter.get_total_flops(), training_flops(model.config, [prompt] * rows, [label] * rows)
    assert abs(counted - ours) / ours < 0.05


def test_where_names_every_share_once() -> None:
    """Prevents shares that do not add up to the whole."""
    a = torch.randn(200, 200, requires_grad=True)
    shares = where(lambda: (a @ a).softmax(-1).sum().backward(), cuda=False)
    assert abs(sum(shares.values()) - 1) < 0.01
    assert shares["products"] > 0
