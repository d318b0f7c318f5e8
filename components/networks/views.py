"""Vectors of numbered rows (of items) in what a language model reads: a linear layer a view, added where a text ends.

    attach(model, {"poster": vectors}, dropout=0.3)          # a submodule: it learns and moves with the model
    embeddings = at_ends(language_model, input_ids, attention_mask, rows)         # None where the model has no views

A row without a view adds nothing, and in training each view of each row is dropped with a probability, so that a
missing picture is normal. The layers begin at zero: the model begins as it is without views. Vectors come with length
1 and are read with the length of sqrt(numbers), as what lies in a network is: else the layers take four times as long
to grow (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.networks.interface import LanguageModel, Placed

_NAME = "item_views"


class Views(nn.Module):
    """[n] row numbers -> [n, width]: the sum of all views of each, as the model reads them; 0 for the number -1."""

    def __init__(self, of_rows: Mapping[str, NDArray[np.float32]], width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self._dropout = dropout
        self.layers = nn.ModuleDict()
        for name, each in of_rows.items():
            layer = nn.Linear(each.shape[1], width, bias=False)
            nn.init.zeros_(layer.weight)
            self.layers[name] = layer
            self.register_buffer(f"of_{name}", torch.from_numpy(np.ascontiguousarray(each)), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        total: Tensor | None = None
        for name, layer in self.layers.items():
            own: Tensor = self.get_buffer(f"of_{name}").index_select(0, rows.clamp(min=0)) * (rows >= 0)[:, None]
            if self.training and self._dropout:
                own = own * (torch.rand(len(own), 1, device=own.device) >= self._dropout)
            read = layer(own * own.shape[1] ** 0.5)
            total = read if total is None else total + read
        assert total is not None, "there is a view"
        return total


def attach(model: Any, of_rows: Mapping[str, NDArray[np.float32]], *, dropout: float = 0.0) -> None:
    """Give a model views [rows, numbers], in place."""
    width = int(model.get_input_embeddings().weight.shape[1])
    model.add_module(_NAME, Views(of_rows, width, dropout=dropout))


def views_of(model: Any) -> Views | None:
    """The views of a model, if it has some."""
    found = model._modules.get(_NAME)
    return found if isinstance(found, Views) else None


def detach(model: Any) -> None:
    """Take the views from a model, in place."""
    model._modules.pop(_NAME, None)


def placed(model: LanguageModel, input_ids: Tensor, rows: Tensor, columns: Tensor, items: Tensor) -> Tensor | None:
    """Embeddings [batch, S, d] of prompts with the views of row number `items` [n] added at `rows` and `columns`; None
    where the model has no views."""
    views = views_of(model.module)
    if views is None:
        return None
    words = model.embed(input_ids[rows, columns][:, None])[:, 0]
    which = torch.arange(len(rows), device=rows.device)
    return model.embed(input_ids, Placed(rows, columns, words + views(items).to(words.dtype), which))


def at_ends(model: LanguageModel, input_ids: Tensor, attention_mask: Tensor, items: Any) -> Tensor | None:
    """The same of texts that are each of one row number `items` [batch], -1 for none: added to the last token."""
    if views_of(model.module) is None:
        return None
    rows = torch.arange(len(input_ids), device=input_ids.device)
    numbers = torch.as_tensor(items, dtype=torch.int64).to(input_ids.device, non_blocking=True)
    return placed(model, input_ids, rows, attention_mask.sum(1) - 1, numbers)
