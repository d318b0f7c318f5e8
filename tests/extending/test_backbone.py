"""A decoder-only backbone is a word in `MODEL_TYPES`: docs/architecture.md, "How do I add a backbone"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from components.errors import BadInput
from components.networks import causal
from components.networks.backbone import load_model, save_model
from components.progress import Progress
from components.recommender.engine import Engine
from components.recommender.pair import Pair
from components.settings.decoding import Decoding
from components.settings.train import RecommenderTraining
from components.training.job import Job
from components.training.run import train
from tests.recommender.references import by_hugging_face
from tests.training.pretrained import byte_level

TWO_STEPS = RecommenderTraining(epochs=1, batch_size=8, valid_users=4, valid_beams=3)
"""Fourteen histories."""


def checkpoint(folder: Path) -> Path:
    """A random Mistral with a tokenizer, as a download has them."""
    tokenizer = byte_level(eos_token="<|endoftext|>")
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=None,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.5,
    )
    save_model(MistralForCausalLM(config).eval(), folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_decoder_only_type_is_a_word(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a type that is accepted and then trained, published or decoded by a way made for another one."""
    backbone = checkpoint(tmp_path / "mistral")
    with pytest.raises(BadInput, match="mistral cannot be a decoder-only recommender"):
        load_model(backbone, "decoder-only")
    monkeypatch.setattr(causal, "MODEL_TYPES", (*causal.MODEL_TYPES, "mistral"))
    job = make_job(family="decoder-only", backbone=str(backbone), max_item_tokens=24, recommender=TWO_STEPS)
    train(job, Progress())
    pair = Pair.load(job.out)
    assert pair.recommender.config.model_type == "mistral" and pair.facts["steps"] > 0
    before = load_model(backbone, "decoder-only").get_input_embeddings().weight
    assert not torch.equal(pair.recommender.get_input_embeddings().weight, before)

    history = ["s0soap", "b1brush"]
    ids = [pair.table.token_ids[pair.table.item_ids.index(item)] for item in history]
    prompt = pair.prompts.tokenise(pair.tokenizer).build(0, ids, max_tokens=512)
    read = torch.tensor([prompt.token_ids])
    end = pair.tokenizer.eos_token_id
    expected = by_hugging_face(pair.recommender, pair.table.token_ids, read, read * 0 + 1, beams=5, results=5, end=end)[
        0
    ]
    engine = Engine.load(job.out, device="cpu")
    found = engine.recommend([history], 5, Decoding(beams=5, scores="vocabulary", mask_seen=False))[0]
    assert [hit.item_id for hit in found] == [pair.table.item_ids[item] for item, _ in expected]
    assert [hit.score for hit in found] == pytest.approx([score for _, score in expected], abs=1e-4)
