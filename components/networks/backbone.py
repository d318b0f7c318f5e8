"""Build, load and save models: from scratch in named sizes, or pretrained, of the hub or a local folder.

    model = build("scratch", size="tiny", vocabulary_size=len(tokenizer), dropout=0.1, seed=17)
    model = build("google-t5/t5-small")
    model = build("scratch", family="decoder-only", vocabulary_size=len(tokenizer), seed=17)

Weights are safetensors only: a pickle or code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from components.errors import BadInput, first_line
from components.networks.cpu import use_cpu_kernels
from components.networks.families import check_family
from components.networks.hub import locate
from components.networks.scratch import scratch_llama, scratch_t5
from components.networks.tokenizer import load_tokenizer
from components.settings.sizes import parse_size
from components.settings.train import Family

SCRATCH = "scratch"


def build(
    name: str,
    *,
    family: Family = "encoder-decoder",
    size: str = "tiny",
    vocabulary_size: int = 0,
    dropout: float = 0.1,
    seed: int = 0,
    pad_token: int = 0,
    end_token: int = 1,
) -> PreTrainedModel:
    """A new model in evaluation mode: from scratch (`size` and what follows count), or pretrained.

    Raises `BadInput` where `name` cannot be reached, is not of the family, or has no safetensors.
    """
    if name != SCRATCH:
        return load_model(locate(name), family)
    make: Any = scratch_llama if family == "decoder-only" else scratch_t5
    settings = {"vocabulary_size": vocabulary_size, "pad_token": pad_token, "end_token": end_token}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(parse_size(size), dropout=dropout, **settings)
    return use_cpu_kernels(model.eval())


def build_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a pretrained backbone; of a scratch one, see `train_tokenizer`.

    Language models often have no padding token; the end token pads then, as padding is never read.
    """
    tokenizer = load_tokenizer(locate(name))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save_model(model: PreTrainedModel, path: Path) -> None:
    """Write config.json and model.safetensors to the folder `path`; equal weights give equal bytes."""
    path.mkdir(parents=True, exist_ok=True)
    disable_progress_bar()  # transformers' own bar would tear ours
    model.save_pretrained(path, max_shard_size="1TB")  # one file: a bundle names it
    config = path / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_model(path: Path, family: Family = "encoder-decoder") -> PreTrainedModel:
    """Read a model, float32 and in evaluation mode. Raises `BadInput` if it is missing, a pickle or another family."""
    where = str(path)
    if not (path / "config.json").is_file():
        raise BadInput("there is no model (config.json)", where=where, mend=_MEND)
    if not any(path.glob("*.safetensors")):
        raise BadInput("no *.safetensors; a pickle (.bin, .pt) is not opened", where=where, mend=_MEND)
    config = _config(path)
    disable_progress_bar()
    settings: dict[str, Any] = {"config": config, "dtype": torch.float32, **_SAFE}
    check_family(config, family, where=where)
    kind = AutoModelForCausalLM if family == "decoder-only" else AutoModelForSeq2SeqLM
    try:
        return use_cpu_kernels(kind.from_pretrained(where, **settings).eval())
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise BadInput(f"its weights cannot be read: {first_line(error)}", where=where, mend=_WHOLE) from error


def config_of(name: str) -> PreTrainedConfig:
    """The configuration of a pretrained backbone. Raises `BadInput` where it cannot be reached or read."""
    return _config(locate(name))


def _config(path: Path) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError) as error:
        raise BadInput(f"its config cannot be read: {first_line(error)}", where=str(path), mend=_MEND) from error


_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
_MEND = "name a model of the family with safetensors (google-t5/t5-small, Qwen/Qwen3-0.6B), or set it to scratch"
_WHOLE = "take the folder or name of a whole checkpoint: config, weights and tokenizer that were saved together"


def check_fit(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Raises `BadInput` where a checkpoint and its tokenizer do not belong together, which fails late or never."""
    if len(tokenizer) > config.vocab_size:
        raise BadInput(
            f"its tokenizer has {len(tokenizer)} tokens, the model {config.vocab_size}", where=name, mend=_WHOLE
        )
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    # A decoder-only recommender is told the tokenizer's end token; an encoder-decoder reads it from its config.
    if config.is_encoder_decoder and tokenizer.eos_token_id not in ends[:1]:
        raise BadInput(
            f"its tokenizer ends texts with token {tokenizer.eos_token_id}, its config with {config.eos_token_id}",
            where=name,
            mend=_WHOLE,
        )
