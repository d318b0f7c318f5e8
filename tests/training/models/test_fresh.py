"""The untrained models of a training, and the recommender that starts over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from components.networks.backbone import SCRATCH
from components.progress import JsonLines, Progress
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models import fresh
from components.training.packed import dataset
from components.training.run import train
from tests.training.pretrained import checkpoint

MakeJob = Callable[..., Job]


@pytest.mark.parametrize("backbone", [SCRATCH, "t5"])
def test_refit_builds_the_recommender_alone(
    backbone: str, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a second generator in memory beside two trained models, and a start from weights that have learnt."""
    name = backbone if backbone == SCRATCH else str(checkpoint(tmp_path / backbone, backbone))
    job = make_job(backbone=name, generator_backbone=name, max_item_tokens=24)
    data = dataset.load(job)
    context = Context.build(job, data, fresh.tokenizer_of(job, data, Ranks()), Ranks())
    state, _ = fresh.fresh_models(context)
    begun = {key: value.clone() for key, value in state.recommender.state_dict().items()}
    for weight in state.recommender.parameters():
        torch.nn.init.ones_(weight)
    built: list[str] = []
    build = fresh.build

    def noted(name: str, **settings: Any) -> Any:
        built.append(name)
        return build(name, **settings)

    monkeypatch.setattr(fresh, "build", noted)
    fresh.fresh_recommender(context, state)
    assert built == [name]
    assert all(torch.equal(value, begun[key]) for key, value in state.recommender.state_dict().items())


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_the_recommender_starts_from_word_vectors_and_says_so(family: str, make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a setting that is noted and not used, and a `refit` that starts elsewhere."""
    words = {"[UNK]": 0, "soap": 1, "towel": 2, "black": 3, "series": 4}
    rows = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    (tmp_path / "words").mkdir()
    tokenizer.save(str(tmp_path / "words" / "tokenizer.json"))
    save_file({"rows": rows}, tmp_path / "words" / "model.safetensors")
    plain, with_words = (
        make_job(name, family=family, word_vectors=each) for name, each in (("a", None), ("b", str(tmp_path / "words")))
    )
    weights = []
    for job in (plain, with_words):
        data = dataset.load(job)
        context = Context.build(job, data, fresh.tokenizer_of(job, data, Ranks()), Ranks())
        state, _ = fresh.fresh_models(context)
        begun = state.recommender.get_input_embeddings().weight.clone()
        torch.nn.init.ones_(state.recommender.get_input_embeddings().weight)
        fresh.fresh_recommender(context, state)
        assert torch.equal(state.recommender.get_input_embeddings().weight, begun)
        weights.append(begun)
    changed = int((weights[0] != weights[1]).any(dim=1).sum())
    notes = tmp_path / "notes.jsonl"
    facts = train(with_words, Progress([JsonLines(notes)]))
    said = facts["word_vectors"]
    assert said["found"] == changed >= 2 and said["tokens"] == len(weights[0]) and len(said["sha256"]) == 64
    assert f"{changed} of {said['tokens']} token embeddings" in notes.read_text()
