"""One pair whose recommender has the mean weights of several that went on from one start.

    average([joint, on_beauty, on_toys], out)

Wortsman et al., "Model soups" (ICML 2022): networks that were trained further from the same weights lie in one valley,
and their mean is a network; of networks from different starts it is none, which cannot be seen in the files.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from components.errors import BadInput
from components.recommender.pair import RECOMMENDER, TOKENIZER
from components.storage.artifacts import publishing
from components.storage.manifest import MANIFEST, sha256, verify_manifest, write_manifest

_WEIGHTS = "model.safetensors"


def average(pairs: Sequence[Path], out: Path) -> None:
    """Write a copy of the first pair or bundle with the mean weights of all.

    Raises `BadInput` for pairs with other tokenizers or shapes, of which there is no mean.
    """
    first, *others = pairs
    for each in pairs:
        verify_manifest(each)
    for each in others:
        if sha256(each / TOKENIZER / "tokenizer.json") != sha256(first / TOKENIZER / "tokenizer.json"):
            raise _no_mean("another tokenizer", each, first)
    weights = [load_file(each / RECOMMENDER / _WEIGHTS) for each in pairs]
    for each, found in zip(others, weights[1:], strict=True):
        if {name: tensor.shape for name, tensor in found.items()} != {
            name: tensor.shape for name, tensor in weights[0].items()
        }:
            raise _no_mean("weights of other names or shapes", each, first)
    mean = {
        name: torch.stack([found[name].double() for found in weights]).mean(0).to(tensor.dtype).contiguous()
        for name, tensor in weights[0].items()
    }
    with safe_open(first / RECOMMENDER / _WEIGHTS, framework="pt") as file:
        about = file.metadata()
    with publishing(out) as folder:
        shutil.copytree(first, folder, ignore=shutil.ignore_patterns(MANIFEST))
        save_file(mean, folder / RECOMMENDER / _WEIGHTS, metadata=about)
        write_manifest(folder)


def _no_mean(what: str, each: Path, first: Path) -> BadInput:
    mend = "average pairs that were trained further from one start (train.start)"
    return BadInput(f"{what} than {first} has", where=str(each), mend=mend)
