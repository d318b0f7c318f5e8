"""Tiny models, tokenizers and ID sets for the tests of the recommender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from components.recommender.prompts.phrasings import OPENINGS, TEMPLATES
from tests.networks.causal_models import make_model

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


@pytest.fixture(scope="session", name="make_model")
def make_model_fixture() -> Callable[..., Any]:
    """`make_model(vocabulary, seed=0, kind="t5")`: a random two-layer model whose scores differ clearly."""
    return make_model
