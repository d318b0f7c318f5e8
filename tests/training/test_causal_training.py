"""A decoder-only recommender through the whole alternation: from scratch, and from checkpoints on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from components.artifacts import sha256
from components.errors import BadInput
from components.progress import Progress
from components.recommender.causal import Causal
from components.recommender.engine import Engine
from components.recommender.pair import Pair
from components.textid.backbone import build, save_model
from components.textid.imported import adopt
from components.training import data
from components.training.context import Context
from components.training.generator_phase import GeneratorPhase
from components.training.job import Job
from components.training.models import fresh_models, tokenizer_of
from components.training.ranks import Ranks
from components.training.recommender_phase import RecommenderPhase
from components.training.run import train
from tests.recommender.causal_models import CAUSAL_KINDS, make_causal
from tests.recommender.references import by_hugging_face
from tests.training.conftest import COLOURS, KINDS

MakeJob = Callable[..., Job]
TEXTS = [
    f"{colour} {kind} number {number} of the series" for colour in COLOURS for kind in KINDS for number in range(4)
]


def byte_level(**special: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE, as GPT-2, Qwen and Llama 3 have."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = sorted(set(special.values()))
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    bare.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bare, clean_up_tokenization_spaces=False, **special)


def spaced() -> PreTrainedTokenizerFast:
    """A BPE over words that begin with a sign for the space, as Llama and Llama 2 have."""
    bare = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    bare.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    bare.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=420, special_tokens=names, show_progress=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def checkpoint(folder: Path, kind: str) -> Path:
    """A random checkpoint with its tokenizer, as it would lie in a download; no padding token anywhere."""
    end = "<|endoftext|>"
    if kind == "llama":
        tokenizer = spaced()
    elif kind == "gpt2":
        tokenizer = byte_level(bos_token=end, eos_token=end, unk_token=end)
    else:
        tokenizer = byte_level(eos_token=end)
    # Rounded up, as vocabularies of checkpoints are.
    model = make_causal(kind, len(tokenizer) + 5, end_token=tokenizer.eos_token_id, pad_token=None)
    save_model(model, folder)
    tokenizer.save_pretrained(folder)
    return folder


def context_of(job: Job) -> Context:
    tables = data.load(job)
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
    hits = Engine.load(jobs[0].out, device="cpu").recommend([["s0soap"]], k=3, beams=5, scores="trie", mask_seen=True)
    assert len(hits[0]) == 3


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
def test_a_checkpoint_on_disk_is_trained_and_answers_as_the_library(
    kind: str, make_job: MakeJob, tmp_path: Path
) -> None:
    """Prevents end and padding tokens that are taken from the wrong place, IDs that the checkpoint's tokenizer does not
    give back (the re-index refuses such a table), and prompts that differ between training and serving."""
    backbone = str(checkpoint(tmp_path / kind, kind))
    job = make_job(family="decoder-only", backbone=backbone, max_item_tokens=24)
    train(job, Progress())
    pair = Pair.load(job.out)
    assert pair.recommender.config.model_type == kind
    assert pair.table.violations(pair.tokenizer, max_tokens=6, item_ids=list(pair.table.item_ids)) == []
    history = ["s0soap", "b1brush"]
    rows = [pair.table.item_ids.index(item) for item in history]
    prompt = pair.prompts.tokenise(pair.tokenizer).build(0, [pair.table.token_ids[row] for row in rows], max_tokens=512)
    assert prompt.token_ids[-1] == pair.tokenizer.eos_token_id
    if kind == "llama":
        assert prompt.token_ids[0] == pair.tokenizer.bos_token_id
    input_ids = torch.tensor([prompt.token_ids])
    expected = by_hugging_face(
        pair.recommender,
        pair.table.token_ids,
        input_ids,
        input_ids * 0 + 1,
        beams=5,
        results=5,
        end=pair.tokenizer.eos_token_id,
    )[0]
    engine = Engine.load(job.out, device="cpu")
    found = engine.recommend([history], k=5, beams=5, scores="vocabulary", mask_seen=False)[0]
    assert [hit.item_id for hit in found] == [pair.table.item_ids[item] for item, _ in expected]
    assert [hit.score for hit in found] == pytest.approx([score for _, score in expected], abs=1e-4)


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
    recommender = Causal(model, end_token=1)
    tokens = torch.arange(3, 13)[None]

    def embedded() -> list[torch.Tensor]:
        return [model(input_ids=tokens).logits for _ in range(2)]

    once, again = embedded()
    assert torch.equal(once, again)
    recommender.module.train()
    once, again = embedded()
    assert not torch.allclose(once, again)
    zeros = (model.get_input_embeddings()(tokens) == 0).float().mean()
    assert 0.2 < float(zeros) < 0.4


def test_a_generator_with_another_tokenizer_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents IDs written with one tokenizer and read with another: silent garbage."""
    theirs = checkpoint(tmp_path / "gpt2", "gpt2")
    job = make_job(family="decoder-only", generator_backbone=str(theirs))
    with pytest.raises(BadInput, match="different tokenizers"):
        tokenizer_of(job, data.load(job), Ranks())


def test_a_backbone_of_the_other_family_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a failure deep inside the library where one word in params.yaml is wrong."""
    causal = str(checkpoint(tmp_path / "qwen2", "qwen2"))
    with pytest.raises(BadInput, match="qwen2 is no encoder-decoder"):
        fresh_models(context_of(make_job(backbone=causal)))
    save_model(build("scratch", size="d_model=16,layers=1,heads=2", vocabulary_size=300), tmp_path / "t5")
    with pytest.raises(BadInput, match="t5 cannot be a decoder-only"):
        build(str(tmp_path / "t5"), family="decoder-only")
