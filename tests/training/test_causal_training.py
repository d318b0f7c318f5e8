"""A decoder-only recommender through the whole alternation, from scratch; from checkpoints: test_backbones.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.errors import BadInput
from components.networks.backbone import build, save_model
from components.progress import Progress
from components.recommender.engine import Engine
from components.settings.decoding import Decoding
from components.storage.manifest import sha256
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.run import train
from tests.training.pretrained import checkpoint

MakeJob = Callable[..., Job]


def context_of(job: Job) -> Context:
    tables = dataset.load(job)
    return Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())


def test_from_scratch_to_a_pair_that_recommends(make_job: MakeJob) -> None:
    """Prevents a family that trains but cannot be loaded, and a pair whose bytes are another every time."""
    jobs = [make_job(name, family="decoder-only") for name in ("a", "b")]
    facts = [train(job, Progress()) for job in jobs]
    assert facts[0]["family"] == "decoder-only"
    assert sha256(jobs[0].out) == sha256(jobs[1].out)
    assert json.loads((jobs[0].out / "pair.json").read_text())["family"] == "decoder-only"
    assert json.loads((jobs[0].out / "recommender" / "config.json").read_text())["model_type"] == "llama"
    lines = [json.loads(line) for line in (jobs[0].out / "training_log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line.get("phase") == "recommender"]
    assert losses[-1] < losses[0]
    hits = Engine.load(jobs[0].out, device="cpu").recommend([["s0soap"]], 3, Decoding(beams=5))
    assert len(hits[0]) == 3


def test_whole_histories_are_taught_and_every_item_once(make_job: MakeJob) -> None:
    """Prevents this family from being trained one prefix a row, which gives its speed away."""
    context = context_of(make_job(family="decoder-only"))
    table = adopt({}, context.tokenizer, context.data.item_ids, context.data.texts, max_tokens=6)[0]
    _, recommender = fresh_models(context)
    phase = RecommenderPhase(context, recommender, table, round=1, after=lambda epoch, row: False)
    batches = phase.batches(0)
    assert sum(len(rows) for rows in batches) == len(context.data.histories)
    tokens = sum(phase.loss(rows)[1] for rows in batches)
    assert tokens == sum(len(table.token_ids[item]) + 1 for item in context.data.histories.values)


def test_the_generator_learns_from_it_while_it_is_still(make_job: MakeJob) -> None:
    """Prevents a soft ID that does not reach the generator, and a recommender that drifts or drops meanwhile."""
    context = context_of(make_job(family="decoder-only", dropout=0.5))
    table = adopt({}, context.tokenizer, context.data.item_ids, context.data.texts, max_tokens=6)[0]
    state, recommender = fresh_models(context)
    phase = GeneratorPhase(context, state.generator, recommender, table, round=2)
    rows = phase.batches(0)[0]
    loss, tokens = phase.loss(rows)
    loss.backward()
    assert tokens > 0
    assert all(parameter.grad is None for parameter in recommender.module.parameters())
    assert max(float(p.grad.abs().max()) for p in state.generator.parameters() if p.grad is not None) > 0
    assert torch.equal(phase.loss(rows)[0], loss)


def test_dropout_of_a_scratch_model_drops_while_it_trains_alone(make_job: MakeJob) -> None:
    """Prevents `train.dropout` from silently doing nothing: a Llama has none of its own where it matters."""
    model = build("scratch", family="decoder-only", size="tiny", vocabulary_size=50, dropout=0.3, seed=1)
    tokens = torch.arange(3, 13)[None]

    def embedded() -> list[torch.Tensor]:
        return [model(input_ids=tokens).logits for _ in range(2)]

    once, again = embedded()
    assert torch.equal(once, again)
    model.train()
    once, again = embedded()
    assert not torch.allclose(once, again)
    zeros = (model.get_input_embeddings()(tokens) == 0).float().mean()
    assert 0.2 < float(zeros) < 0.4


def test_a_backbone_of_the_other_family_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a failure deep inside the library where one word in params.yaml is wrong."""
    causal = str(checkpoint(tmp_path / "qwen2", "qwen2"))
    with pytest.raises(BadInput, match="qwen2 is no encoder-decoder"):
        fresh_models(context_of(make_job(backbone=causal)))
    save_model(build("scratch", size="d_model=16,layers=1,heads=2", vocabulary_size=300), tmp_path / "t5")
    with pytest.raises(BadInput, match="t5 cannot be a decoder-only"):
        build(str(tmp_path / "t5"), family="decoder-only")
