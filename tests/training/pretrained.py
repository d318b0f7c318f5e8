"""Random checkpoints of every type with tokenizers of their kind, on disk as they would lie in a download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from components.networks.backbone import save_model
from tests.networks.causal_models import make_causal
from tests.networks.seq2seq_models import SEQ2SEQ_KINDS, make_bart, make_seq2seq
from tests.training.conftest import COLOURS, KINDS

TEXTS = [
    f"{colour} {kind} number {number} of the series" for colour in COLOURS for kind in KINDS for number in range(4)
]


def byte_level(texts: Sequence[str] = TEXTS, **special: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE, as GPT-2, Qwen, Llama 3 and BART have; `special` tokens are numbered from 0 in their order."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = list(dict.fromkeys(special.values()))
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    bare.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bare, clean_up_tokenization_spaces=False, **special)


def spaced(**special: str) -> PreTrainedTokenizerFast:
    """A BPE over words that begin with a sign for the space, as Llama, Llama 2 and those of SentencePiece (T5) have."""
    bare = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    bare.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    names = [*special.values(), *(f"<0x{byte:02X}>" for byte in range(256))]
    bare.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=420, special_tokens=names, show_progress=False))
    file = json.loads(bare.to_str())  # the trainer takes no other way to have bytes, but they are ordinary tokens
    file["added_tokens"] = [token for token in file["added_tokens"] if token["content"] in special.values()]
    bare = Tokenizer.from_str(json.dumps(file))
    return PreTrainedTokenizerFast(tokenizer_object=bare, clean_up_tokenization_spaces=False, **special)


def tokenizer_for(kind: str) -> PreTrainedTokenizerFast:
    """The kind of tokenizer that the type of model comes with; of the decoder-only ones none has a padding token."""
    end = "<|endoftext|>"
    if kind == "llama":
        return spaced(unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    if kind == "gpt2":
        return byte_level(bos_token=end, eos_token=end, unk_token=end)
    if kind.startswith("qwen"):
        return byte_level(eos_token=end)
    if kind == "bart":
        names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        return byte_level(**names, mask_token="<mask>")
    return spaced(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def checkpoint(folder: Path, kind: str, *, seed: int = 0, spare: int = 5, positions: int = 64) -> Path:
    """Write model and tokenizer to `folder`, which is returned. `positions`: of a BART."""
    tokenizer = tokenizer_for(kind)
    rows = len(tokenizer) + spare  # rounded up, as vocabularies of checkpoints are
    if kind == "bart":  # 1, 2 and 2, as in those of its authors
        end = tokenizer.eos_token_id
        tokens = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": end, "decoder_start_token_id": end}
        model = make_bart(kind, rows, seed=seed, positions=positions, **tokens)
    elif kind in SEQ2SEQ_KINDS:
        model = make_seq2seq(kind, rows, seed=seed)
    else:
        model = make_causal(kind, rows, seed=seed, end_token=tokenizer.eos_token_id, pad_token=None)
    save_model(model, folder)
    tokenizer.save_pretrained(folder)
    return folder
