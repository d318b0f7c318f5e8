"""A local image model of `transformers` as an encoder: pooled output, or the mean of the last hidden states.

Nothing is downloaded, and no code that comes with a model is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.errors import BadInput
from components.storage.manifest import sha256

_SIDE = 224


class Transformer:
    """The encoder of `views.pictures: transformers`."""

    def __init__(self, model: Any, key: str) -> None:
        settings = getattr(model.config, "vision_config", model.config)
        self._model = getattr(model, "vision_model", model).eval()
        self.key = key
        self.side = int(getattr(settings, "image_size", _SIDE) or _SIDE)
        self.width = int(self.encode(np.zeros((1, self.side, self.side, 3), np.uint8)).shape[1])

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[pictures, side, side, 3] -> [pictures, width]"""
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        out = self._model(pixel_values=x)
        pooled = getattr(out, "pooler_output", None)
        found = out.last_hidden_state if pooled is None else pooled
        if pooled is None and found.ndim == 3:
            found = found.mean(dim=1)
        return np.asarray(found.flatten(1).float().numpy(), np.float32)


def load(folder: Path) -> Transformer:
    """Raises `BadInput` for a folder that holds no image model that is read without code of its own."""
    from transformers import AutoModel

    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True)
        return Transformer(model, f"transformers {sha256(folder)[:16]}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        mend = "name the folder of an image model saved by save_pretrained, with safetensors (views.model)"
        raise BadInput(f"no image model: {str(error).splitlines()[0]}", where=str(folder), mend=mend) from error
