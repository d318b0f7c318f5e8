"""Vectors of item views in prompts and in the texts that the ID generator reads (`train.views`), and in a pair.

    prompt = placed(language_model, batch.input_ids, batch.ends)      # embeddings; None where the model has no views
    save(pair.models, directory, item_ids); load(model, directory, item_ids, RECOMMENDER)

What a model adds where, and how it learns: networks/views.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.errors import BadInput
from components.networks import views as networks
from components.networks.interface import LanguageModel
from components.networks.views import attach, views_of
from components.recommender import soft_prompt
from components.recommender.batches.batch import Ends
from components.storage import vectors

FOLDER = "item_views"
"""In a pair: the vectors of its items (storage/vectors.py), and beside them the layers of each model."""
RECOMMENDER, GENERATOR = "layers.safetensors", "generator.safetensors"


def placed(model: LanguageModel, input_ids: Tensor, ends: Ends | None) -> Tensor | None:
    """Embeddings [rows, S, d] of prompts with the views of each item added where it ends, or with a soft prompt in
    front; None where the model has neither. No model has both."""
    if soft := soft_prompt.soft_prompt_of(model.module):
        return soft_prompt.read(model, input_ids, soft)
    return None if ends is None else networks.placed(model, input_ids, ends.rows, ends.columns, ends.items)


def save(models: Mapping[str, Any], directory: Path, item_ids: Sequence[str]) -> None:
    """Write the views of models, by the file of their layers, into a pair; nothing where none has any."""
    having = {file: found for file, model in models.items() if (found := views_of(model)) is not None}
    for file, views in having.items():
        if not (directory / FOLDER).is_dir():
            own = {name: views.get_buffer(f"of_{name}").cpu().numpy() for name in views.layers}
            vectors.save(directory / FOLDER, item_ids, own)
        weights = {name: each.detach().cpu().contiguous() for name, each in views.layers.state_dict().items()}
        save_file(weights, directory / FOLDER / file)


def load(model: Any, directory: Path, item_ids: Sequence[str], file: str = RECOMMENDER) -> None:
    """Give a model the views that `save` wrote, for the items of a catalogue: one that is not in them has none.

    The manifest must have been verified. Raises `BadInput` for layers that do not fit.
    """
    folder = directory / FOLDER
    if not (folder / file).is_file():
        return
    of_items = {name: np.asarray(each) for name, each in vectors.load(folder, item_ids).items()}
    attach(model, of_items)
    views = views_of(model)
    assert views is not None
    try:
        views.layers.load_state_dict(load_file(folder / file))
    except (OSError, RuntimeError, SafetensorError) as error:
        mend = "restore it (dvc checkout) or train again"
        raise BadInput(f"not readable as layers of views: {error}", where=str(folder / file), mend=mend) from error
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
