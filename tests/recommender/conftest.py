"""Tiny models, tokenizers and ID sets for the tests of the recommender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from components.recommender.prompts import OPENINGS, TEMPLATES
from tests.recommender.causal_models import CAUSAL_KINDS, make_causal

WORDS = ["clarisonic", "mia", "sonic", "brush", "soap", "black", "towel", "honey", "lemon", "cream"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two processes that compete for the cores slow torch tenfold; these models are tiny."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, end token 1, unknown 2; no token for the comma."""
    prompt_words = sorted(
        {word for template in (*TEMPLATES, *OPENINGS) for word in template.split()} - {"{history}"} - set(WORDS)
    )
    vocabulary = {token: number for number, token in enumerate(["<pad>", "</s>", "<unk>", *WORDS, *prompt_words])}
    bare = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    """`make_model(vocabulary, seed=0, kind="t5")`: a random two-layer model whose scores differ clearly."""

    def make(vocabulary: int, *, seed: int = 0, kind: str = "t5", dtype: torch.dtype = torch.float32) -> Any:
        if kind in CAUSAL_KINDS:
            return make_causal(kind, vocabulary, seed=seed).to(dtype)
        torch.manual_seed(seed)
        sizes: dict[str, Any] = {"vocab_size": vocabulary, "d_model": 16, "d_kv": 8, "d_ff": 32}
        sizes |= {"num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
        if kind == "mt5":
            model: Any = MT5ForConditionalGeneration(MT5Config(**sizes))
        else:
            # Gated: as T5 v1.1; both feed-forward kinds are the library's own modules.
            feed_forward = "gated-gelu" if kind == "t5-gated" else "relu"
            model = T5ForConditionalGeneration(T5Config(**sizes, feed_forward_proj=feed_forward))
        # Fresh biases of the relative positions are near zero, and a mistake in them would not show.
        for stack in (model.encoder, model.decoder):
            torch.nn.init.normal_(stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight, std=2.0)
        return model.to(dtype).eval()

    return make
