"""Soft prompt: learned vectors in front of every prompt of a recommender whose weights stay as they are.

    attach(model, 16, words=head)                # a submodule: it learns, is saved and moves with the model
    prompt = read(language_model, input_ids, soft_prompt)    # embeddings; the first 16 tokens of each row stand for it
    save(model, directory); load(model, directory)

Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning" (EMNLP 2021): the vectors begin as embeddings
of words, here those of the prompt itself. `Prompts.soft` puts as many tokens there, whose own embeddings nobody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from components.errors import BadInput
from components.networks.interface import LanguageModel, Placed

FILE = "soft_prompt.safetensors"
"""In a pair, beside the recommender, whose folder stays one that any library reads."""
_NAME = "soft_prompt"
_VECTORS = "vectors"


class SoftPrompt(nn.Module):
    """Vectors [n, width] as a model reads them."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors.clone())

    def __len__(self) -> int:
        return len(self.vectors)


def attach(model: Any, count: int, *, words: Sequence[int]) -> None:
    """Put `count` vectors in front of the prompts of a model, in place: the embeddings of `words`, over and over."""
    embeddings = model.get_input_embeddings().weight
    tokens = torch.tensor([words[place % len(words)] for place in range(count)], device=embeddings.device)
    model.add_module(_NAME, SoftPrompt(embeddings.detach()[tokens]))


def soft_prompt_of(model: Any) -> SoftPrompt | None:
    """That of a model, if it has one."""
    found = model._modules.get(_NAME)
    return found if isinstance(found, SoftPrompt) else None


def alone_learns(model: Any) -> None:
    """Freeze everything but the soft prompt, in place."""
    model.requires_grad_(False)
    soft = soft_prompt_of(model)
    assert soft is not None, "attached before"
    soft.requires_grad_(True)


def read(model: LanguageModel, input_ids: Tensor, soft: SoftPrompt) -> Tensor:
    """Embeddings [rows, S, d] of prompts [rows, S] with the vectors instead of the first tokens of each row."""
    rows, count = len(input_ids), len(soft)
    which = torch.arange(count, device=input_ids.device).repeat(rows)
    at = torch.arange(rows, device=input_ids.device).repeat_interleave(count)
    return model.embed(input_ids, Placed(at, which, soft.vectors, which))


def save(model: Any, directory: Path) -> None:
    """Write the soft prompt of a model into its pair; nothing where it has none."""
    soft = soft_prompt_of(model)
    if soft is not None:
        save_file({_VECTORS: soft.vectors.detach().cpu().contiguous()}, directory / FILE)


def detach(model: Any) -> None:
    """Take the soft prompt from a model, in place."""
    model._modules.pop(_NAME, None)


def load(model: Any, directory: Path) -> None:
    """Give a model the soft prompt that `save` wrote. The manifest must have been verified.

    Raises `BadInput` for vectors that do not fit.
    """
    path = directory / FILE
    if not path.is_file():
        return
    mend = "restore it (dvc checkout) or train again"
    try:
        vectors = load_file(path)[_VECTORS]
    except (OSError, KeyError, SafetensorError) as error:
        raise BadInput(f"not readable as a soft prompt: {error}", where=str(path), mend=mend) from error
    width = int(model.get_input_embeddings().weight.shape[1])
    if vectors.ndim != 2 or vectors.shape[1] != width:
        what = f"vectors of shape {list(vectors.shape)}, and the recommender reads {width} numbers a token"
        raise BadInput(what, where=str(path), mend=mend)
    model.add_module(_NAME, SoftPrompt(vectors))
    model.eval()
