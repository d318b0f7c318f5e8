"""Texts to vectors: by a transformer's encoder, by static vectors, by a trained pair's generator; whitened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from components.errors import BadInput
from components.settings.ranking import Rank
from components.views.reduce import reduced
from components.views.texts import encoded

WORDS = ["honey", "soap", "black", "cream", "mia", "sonic", "brush", "lemon", "towel"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
TEXTS = ["honey soap", "black soap", None, "mia sonic brush", "honey", "lemon towel honey cream soap", "black cream"]


def tokenizer_into(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(VOCABULARY), **sizes)).save_pretrained(folder)
    tokenizer_into(folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def whitened(raw: np.ndarray, dims: int) -> np.ndarray:
    """The definition, over the texts that are there."""
    centred = raw - raw.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    found = centred @ axes[:dims].T / lengths[:dims]
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def test_a_transformer_reads_each_text_alone(transformer: Path) -> None:
    """Prevents: padding that is read, a row that went to another text, vectors that lean all one way."""
    tokenizer: Any = AutoTokenizer.from_pretrained(transformer)
    model = AutoModel.from_pretrained(transformer).eval()
    present = [text for text in TEXTS if text]
    with torch.inference_mode():
        raw = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for text in present]
    (found,) = encoded(TEXTS, {"bert": str(transformer)}, dims=3).values()
    wanted = whitened(np.stack(raw).astype(np.float64), 3)
    kept = np.array([text is not None for text in TEXTS])
    assert np.allclose(np.asarray(found)[kept] @ np.asarray(found)[kept].T, wanted @ wanted.T, atol=1e-3)
    assert not np.asarray(found)[~kept].any()


def test_static_vectors_are_averaged(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(len(VOCABULARY), 6)).astype(np.float16)
    tokenizer_into(tmp_path)
    save_file({"rows": rows}, tmp_path / "model.safetensors")
    present = [text for text in TEXTS if text]
    raw = np.stack([np.mean([rows[VOCABULARY.index(word)] for word in text.split()], axis=0) for text in present])
    (found,) = encoded(present, {"words": tmp_path}, dims=4).values()
    wanted = whitened(raw.astype(np.float64), 4)
    assert np.allclose(np.asarray(found) @ np.asarray(found).T, wanted @ wanted.T, atol=1e-2)


def test_an_axis_without_variance_is_left_out() -> None:
    """Prevents: rounding errors blown up to the size of what counts."""
    raw = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32) @ np.eye(3, 8, dtype=np.float32)
    found = reduced(raw, np.ones(50, bool), 8, standardised=False, whitened=True)
    assert found.shape == (50, 8) and np.count_nonzero(np.abs(found).max(axis=0) > 1e-3) == 3


def test_what_is_no_encoder_is_refused(tmp_path: Path, transformer: Path) -> None:
    for given, taken in ((str(tmp_path), ()), ("no/such-model", ()), (str(transformer), ("own",))):
        with pytest.raises(BadInput):
            encoded(["honey"], {"own": given}, dims=2, taken=taken)
    with pytest.raises(ValueError, match="encoders"):
        Rank(encoders={"My Encoder": "generator"})
