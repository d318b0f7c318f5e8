"""Vectors of item views in the recommender's prompts: a linear layer a view, added where an item ends (`train.views`).

    attach(model, vectors, seed=17, dropout=0.3)             # a submodule: it learns, is saved and moves with the model
    prompt = placed(language_model, batch.input_ids, batch.ends)      # embeddings; None where the model has no views
    save(model, directory, item_ids); load(model, directory, item_ids)

An item without a view adds nothing, and in training each view of each item is dropped with a probability, so that a
missing picture is normal. The layers begin at zero: the model begins as it is without views. Vectors come with length
1 and are read with the length of sqrt(numbers), as what lies in a network is: else the layers take four times as long
to grow (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from components.errors import BadInput
from components.networks.interface import LanguageModel, Placed
from components.recommender import soft_prompt
from components.recommender.batches.batch import Ends
from components.storage import vectors

FOLDER, LAYERS = "item_views", "layers.safetensors"
"""In a pair: the vectors of its items (storage/vectors.py), and beside them the layers."""
_NAME = "item_views"


class ItemViews(nn.Module):
    """[n] item numbers -> [n, width]: the sum of all views of each item, as the model reads them."""

    def __init__(self, of_items: Mapping[str, NDArray[np.float32]], width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self._dropout = dropout
        self.layers = nn.ModuleDict()
        for name, each in of_items.items():
            layer = nn.Linear(each.shape[1], width, bias=False)
            nn.init.zeros_(layer.weight)
            self.layers[name] = layer
            self.register_buffer(f"of_{name}", torch.from_numpy(np.ascontiguousarray(each)), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        total: Tensor | None = None
        for name, layer in self.layers.items():
            own: Tensor = self.get_buffer(f"of_{name}").index_select(0, items)
            if self.training and self._dropout:
                own = own * (torch.rand(len(own), 1, device=own.device) >= self._dropout)
            read = layer(own * own.shape[1] ** 0.5)
            total = read if total is None else total + read
        assert total is not None, "there is a view"
        return total


def attach(model: Any, of_items: Mapping[str, NDArray[np.float32]], *, dropout: float = 0.0) -> None:
    """Give a model the views of its catalogue [items, numbers], in place."""
    width = int(model.get_input_embeddings().weight.shape[1])
    model.add_module(_NAME, ItemViews(of_items, width, dropout=dropout))


def views_of(model: Any) -> ItemViews | None:
    """The views of a model, if it has some."""
    found = model._modules.get(_NAME)
    return found if isinstance(found, ItemViews) else None


def detach(model: Any) -> None:
    """Take the views from a model, in place."""
    model._modules.pop(_NAME, None)


def placed(model: LanguageModel, input_ids: Tensor, ends: Ends | None) -> Tensor | None:
    """Embeddings [rows, S, d] of prompts with the views of each item added where it ends, or with a soft prompt in
    front; None where the model has neither. No model has both."""
    if soft := soft_prompt.soft_prompt_of(model.module):
        return soft_prompt.read(model, input_ids, soft)
    views = views_of(model.module)
    if views is None or ends is None:
        return None
    rows, columns, items = ends.rows, ends.columns, ends.items
    words = model.embed(input_ids[rows, columns][:, None])[:, 0]
    which = torch.arange(len(rows), device=rows.device)
    return model.embed(input_ids, Placed(rows, columns, words + views(items).to(words.dtype), which))


def save(model: Any, directory: Path, item_ids: Sequence[str]) -> None:
    """Write the views of a model into its pair; nothing where it has none."""
    views = views_of(model)
    if views is None:
        return
    own = {name: views.get_buffer(f"of_{name}").cpu().numpy() for name in views.layers}
    vectors.save(directory / FOLDER, item_ids, own)
    weights = {name: each.detach().cpu().contiguous() for name, each in views.layers.state_dict().items()}
    save_file(weights, directory / FOLDER / LAYERS)


def load(model: Any, directory: Path, item_ids: Sequence[str]) -> None:
    """Give a model the views that `save` wrote, for the items of a catalogue: one that is not in them has none.

    The manifest must have been verified. Raises `BadInput` for layers that do not fit.
    """
    folder = directory / FOLDER
    if not folder.is_dir():
        return
    of_items = {name: np.asarray(each) for name, each in vectors.load(folder, item_ids).items()}
    attach(model, of_items)
    views = views_of(model)
    assert views is not None
    try:
        views.layers.load_state_dict(load_file(folder / LAYERS))
    except (OSError, RuntimeError, SafetensorError) as error:
        mend = "restore it (dvc checkout) or train again"
        raise BadInput(f"not readable as layers of views: {error}", where=str(folder / LAYERS), mend=mend) from error
    model.eval()


def chosen(folder: Path, names: Sequence[str], item_ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Vectors [items, numbers] of some views from the output of the stage `views`. Raises `BadInput` for one that is
    not there, or sparse."""
    found = vectors.load(folder, item_ids)
    for name in names:
        if not isinstance(found.get(name), np.ndarray):
            dense = ", ".join(each for each, value in found.items() if isinstance(value, np.ndarray)) or "none here"
            what = "is sparse: relations are dense with views.relations: svd" if name in found else "is no view"
            raise BadInput(f"{name!r} {what}", where="params.yaml: train.views", mend=f"dense views are {dense}")
    return {name: np.asarray(found[name], np.float32) for name in names}
