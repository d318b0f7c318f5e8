"""LoRA: a pretrained model learns through small matrices beside its own, which stay as they are.

    adapt(model, rank=8, alpha=16, seed=17)    # from now on only the adapters learn
    merge(model)                                 # an ordinary model again, with what they learnt

Hu et al., "LoRA" (ICLR 2022); on every linear layer but the output layer, as Dettmers et al., "QLoRA" (NeurIPS 2023,
section 4) found necessary to match full training. peft does it; it is imported here alone, where `train.lora_rank`
asks for it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from components.errors import BadInput


def check_installed() -> None:
    """Raises `BadInput` where there is no peft; said before anything is downloaded or trained."""
    if find_spec("peft") is None:
        raise BadInput(
            "LoRA needs the library peft, which is not installed",
            where="train.lora_rank",
            mend="pip install -c constraints.txt peft, or set it to 0 to train all weights",
        )


def adapt(model: Any, *, rank: int, alpha: int, seed: int) -> None:
    """Put adapters beside all linear layers of a Hugging Face model, in place, and freeze everything else.

    A layer W of [out, in] then computes W + alpha / rank x B A, with A [rank, in] drawn by `seed` and B [out, rank]
    zero: the model starts as what it was.
    """
    from peft import LoraConfig, inject_adapter_in_model

    # GPT-2 keeps its matrices transposed.
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules="all-linear", fan_in_fan_out=model.config.model_type == "gpt2"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def merge(model: Any) -> None:
    """Add what the adapters learnt to the weights and take the adapters away, in place; all weights may learn again.

    Raises `ValueError` for weights that are no numbers. Call it only on what `adapt` was called on.
    """
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge(safe_merge=True)
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)
