"""The networks: a T5 or a Llama from scratch in named sizes, or a pretrained model of the hub or a local folder.

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
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils.logging import disable_progress_bar

from components.errors import BadInput, first_line
from components.networks.causal import check_causal, scratch_causal
from components.networks.cpu.quick import quicken
from components.networks.hub import locate
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
    special = {"pad_token": pad_token, "end_token": end_token}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "decoder-only":
            shape = parse_size(size)
            model: Any = scratch_causal(shape, vocabulary_size=vocabulary_size, dropout=dropout, **special)
        else:
            model = T5ForConditionalGeneration(scratch_config(size, vocabulary_size, dropout, **special))
    return quicken(model.eval())


def build_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a pretrained backbone; of a scratch one, see `train_tokenizer`.

    Language models often have no padding token; the end token pads then, as padding is never read.
    """
    tokenizer = load_tokenizer(locate(name))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def scratch_config(
    size: str, vocabulary_size: int, dropout: float, *, pad_token: int = 0, end_token: int = 1
) -> T5Config:
    """A T5 (Raffel et al., 2020) with ReLU and tied embeddings.

    Tied embeddings are initialised with deviation 1 and T5 scales the decoder's output by d_model^-0.5, so the logits
    of a new model have deviation 1 and its loss starts near log(vocabulary_size).
    """
    shape = parse_size(size)
    # The decoder starts on the padding token, as T5's; not a declared field of T5Config, so typed apart.
    start: dict[str, Any] = {"decoder_start_token_id": pad_token}
    return T5Config(
        vocab_size=vocabulary_size,
        d_model=shape["d_model"],
        d_kv=shape["d_model"] // shape["heads"],
        d_ff=shape["d_ff"],
        num_layers=shape["layers"],
        num_decoder_layers=shape["layers"],
        num_heads=shape["heads"],
        dropout_rate=dropout,
        pad_token_id=pad_token,
        eos_token_id=end_token,
        **start,
    )


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
    if family == "decoder-only":
        check_causal(config, where=where)
    else:
        _check_encoder_decoder(config, where=where)
    kind = AutoModelForCausalLM if family == "decoder-only" else AutoModelForSeq2SeqLM
    try:
        return quicken(kind.from_pretrained(where, **settings).eval())
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise BadInput(f"its weights cannot be read: {first_line(error)}", where=where, mend=_WHOLE) from error


def _check_encoder_decoder(config: PreTrainedConfig, *, where: str) -> None:
    if not config.is_encoder_decoder:
        raise BadInput(f"a {config.model_type} is no encoder-decoder", where=where, mend=_MEND)
    if getattr(config, "decoder_start_token_id", None) is None:
        raise BadInput(
            "its config does not say which token the decoder starts with",
            where=where,
            mend="write decoder_start_token_id into its config.json (for an mBART its eos_token_id will do)",
        )


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
