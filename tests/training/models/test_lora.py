"""LoRA: only the adapters learn, what is published needs no peft, and a resumed run ends with the same bytes."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from components.errors import BadInput
from components.networks.backbone import load_model, save_model
from components.progress import Progress
from components.recommender.engine import Engine
from components.settings.decoding import Decoding
from components.settings.train import RecommenderTraining
from components.storage.manifest import sha256
from components.textid.writing.diverse import propose
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.models.lora import adapt, merge
from components.training.packed import dataset
from components.training.phases.generator import GeneratorPhase
from components.training.run import train
from tests.networks.causal_models import CAUSAL_KINDS, make_causal, model_over
from tests.networks.seq2seq_models import SEQ2SEQ_KINDS, make_seq2seq
from tests.training.pretrained import checkpoint

pytest.importorskip("peft", reason="LoRA is an extra: pip install -c constraints.txt peft")

MakeJob = Callable[..., Job]
RANK = 3


def make(kind: str) -> Any:
    return (make_causal if kind in CAUSAL_KINDS else make_seq2seq)(kind, 30)


def taught(kind: str) -> tuple[Any, Any]:
    """A model, and the same with adapters that do something."""
    plain = make(kind)
    model = copy.deepcopy(plain)
    adapt(model, rank=RANK, alpha=6, seed=1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return plain, model


def logits_of(model: Any) -> torch.Tensor:
    tokens = torch.arange(3, 15).view(2, 6)
    written = {"decoder_input_ids": tokens[:, :4]} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=tokens, **written).logits


@pytest.mark.parametrize("kind", [*SEQ2SEQ_KINDS, *CAUSAL_KINDS])
def test_only_adapters_on_every_linear_layer_learn(kind: str) -> None:
    """Prevents a type whose layers are called otherwise and go without adapters, and weights that learn beside them."""
    plain, model = make(kind), make(kind)
    adapt(model, rank=RANK, alpha=6, seed=1)
    torch.testing.assert_close(logits_of(model), logits_of(plain))
    expected = 0
    for layer in plain.modules():
        if isinstance(layer, (nn.Linear, Conv1D)) and layer is not plain.get_output_embeddings():
            expected += RANK * sum(layer.weight.shape)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert sum(weight.numel() for weight in trained.values()) == expected > 0
    assert all(".lora_" in name for name in trained)


@pytest.mark.parametrize("kind", [*SEQ2SEQ_KINDS, *CAUSAL_KINDS])
def test_a_merged_model_is_an_ordinary_one_that_says_the_same(kind: str, tmp_path: Path) -> None:
    """Prevents a bundle that lacks what was learnt, scales it otherwise, or holds names that only peft can read."""
    plain, model = taught(kind)
    expected = logits_of(model)
    assert float((expected - logits_of(plain)).abs().max()) > 1e-2, "the adapters do nothing: nothing is tested"
    merge(model)
    torch.testing.assert_close(logits_of(model), expected, atol=1e-5, rtol=1e-5)
    assert set(model.state_dict()) == set(plain.state_dict())
    assert all(parameter.requires_grad for parameter in model.parameters())
    save_model(model, tmp_path)
    family = "decoder-only" if kind in CAUSAL_KINDS else "encoder-decoder"
    torch.testing.assert_close(logits_of(load_model(tmp_path, family)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["t5", "mt5", "bart", "llama", "gpt2"])
def test_decoding_reads_the_adapters(kind: str) -> None:
    """Prevents a decoding step that reads a matrix past its adapter: validation would judge another model."""
    _, model = taught(kind)
    recommender = model_over(model)
    prompt = torch.arange(3, 9)[None]
    first = torch.zeros(1, 1, dtype=torch.long)
    tokens = torch.tensor([[[7], [9]]])

    def decode() -> torch.Tensor:
        state = recommender.prefill(prompt, torch.ones_like(prompt), capacity=4)
        recommender.step(state, torch.full((1, 1, 1), recommender.start_token), first)
        return recommender.step(state, tokens, first.expand(1, 2))

    adapted = decode()
    merge(model)
    torch.testing.assert_close(adapted, decode(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["t5", "mt5", "bart"])
def test_ids_are_written_with_the_adapters(kind: str) -> None:
    """Prevents the same in the search that writes IDs: a re-index would ignore the generator phase before it."""
    plain, model = taught(kind)
    texts = torch.arange(3, 21).view(3, 6)

    def written(generator: Any) -> tuple[torch.Tensor, torch.Tensor]:
        how = {"candidates": 4, "groups": 2, "diversity_penalty": 0.5, "max_tokens": 3, "pad_id": 0}
        return propose(model_over(generator), texts, torch.ones_like(texts), **how)

    (tokens, scores), (plain_tokens, _) = written(model), written(plain)
    assert not torch.equal(tokens, plain_tokens), "the adapters change nothing: nothing is tested"
    merge(model)
    merged_tokens, merged_scores = written(model)
    assert torch.equal(tokens, merged_tokens)
    torch.testing.assert_close(scores, merged_scores, atol=1e-5, rtol=1e-5)


def lora_job(make_job: MakeJob, name: str, backbone: Path, **changes: Any) -> Job:
    settings: dict[str, Any] = {"backbone": str(backbone), "generator_backbone": str(backbone), "max_item_tokens": 24}
    settings["recommender"] = RecommenderTraining(epochs=2, batch_size=8, valid_users=4, valid_beams=3)
    return make_job(name, **{**settings, "lora_rank": 4, "checkpoint_seconds": 0.0, **changes})


def test_a_pair_trained_with_adapters_needs_no_peft_and_is_the_same_every_time(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents weights outside the linear layers from moving, adapters from not moving, a generator phase that thaws
    the frozen weights for the next round, and a resume that draws other adapters or forgets their moments."""
    backbone = checkpoint(tmp_path / "t5", "t5")
    # Trimming would take rows from the embeddings, which are compared here.
    whole: dict[str, Any] = {"refit": True, "trim_vocabulary": False}
    calm = lora_job(make_job, "calm", backbone, **whole)
    train(calm, Progress())
    before, after = (load_file(path / "model.safetensors") for path in (backbone, calm.out / "recommender"))
    assert set(after) == set(before)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    names = "(SelfAttention|EncDecAttention|DenseReluDense)[.](q|k|v|o|wi|wo)[.]weight$"
    assert moved == {name for name in after if re.search(names, name)}

    disturbed = lora_job(make_job, "disturbed", backbone, **whole)
    disturbed.save(disturbed.work / "job.json")
    command = [sys.executable, "-m", "components.training", str(disturbed.work / "job.json")]
    # peft keeps the names of layers in sets, whose order is another in every process.
    environment = {**os.environ, "PYTHONHASHSEED": "7", "IDIOM_CRASH": "generator.batch:kill:2"}
    assert subprocess.run(command, check=False, capture_output=True, env=environment).returncode == -9
    train(disturbed, Progress())
    assert sha256(disturbed.out) == sha256(calm.out)

    monkeypatch.setitem(sys.modules, "peft", None)  # from here on importing it is an error
    engine = Engine.load(calm.out, device="cpu")
    assert len(engine.recommend([["s0soap"]], 3, Decoding(beams=5))[0]) == 3


def test_the_generator_learns_through_its_own_adapters(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a generator phase without effect, one that trains the recommender, and one that thaws it afterwards."""
    job = lora_job(make_job, "a", checkpoint(tmp_path / "bart", "bart"))
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())
    table = adopt({}, context.tokenizer, tables.item_ids, tables.texts, max_tokens=6)[0]
    state, recommender = fresh_models(context)
    phase = GeneratorPhase(context, state.generator, recommender, table, round=2)
    phase.loss(phase.batches(0)[0])[0].backward()
    learnt = {name for name, weight in state.generator.named_parameters() if weight.grad is not None}
    assert learnt and all(".lora_" in name for name in learnt)
    assert all(weight.grad is None and not weight.requires_grad for weight in state.recommender.parameters())
    phase.close()
    thawed = [name for name, weight in state.recommender.named_parameters() if weight.requires_grad]
    assert thawed and all(".lora_" in name for name in thawed)


def test_without_peft_it_is_said_before_anything_is_loaded(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an import error after a download of gigabytes."""
    job = make_job(backbone="google-t5/t5-small", lora_rank=4)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BadInput, match=r"(?s)train\.lora_rank.*pip install .* peft"):
        tokenizer_of(job, dataset.load(job), Ranks())
