"""Checkpoints of every type on disk, trained, indexed and decoded; and those that do not fit together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.errors import BadInput
from components.networks.backbone import build_tokenizer
from components.progress import Progress
from components.recommender.engine import Engine
from components.recommender.pair import Pair
from components.settings.decoding import Decoding
from components.settings.train import RecommenderTraining
from components.textid.words.tokenizer import decode_words, encode_words
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.ids.indexing import IndexJob, index_ids
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.run import train
from tests.networks.causal_models import CAUSAL_KINDS
from tests.networks.seq2seq_models import SEQ2SEQ_KINDS
from tests.recommender.references import by_hugging_face
from tests.training.pretrained import checkpoint

MakeJob = Callable[..., Job]
SHORT = RecommenderTraining(epochs=1, batch_size=8, valid_users=4, valid_beams=3)


def models_of(job: Job) -> None:
    """Build both models, as a training does first."""
    tables = dataset.load(job)
    fresh_models(Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks()))


def edit(folder: Path, **config: object) -> None:
    """Change the config.json of a checkpoint."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


@pytest.mark.parametrize("kind", [*SEQ2SEQ_KINDS, *CAUSAL_KINDS])
def test_a_checkpoint_on_disk_is_trained_and_answers_as_the_library(
    kind: str, make_job: MakeJob, tmp_path: Path
) -> None:
    """Prevents start, end and padding tokens that are taken from the wrong place, IDs that the checkpoint's tokenizer
    does not give back (the re-index refuses such a table), and prompts that differ between training and serving.

    An encoder-decoder is the generator as well.
    """
    backbone = str(checkpoint(tmp_path / kind, kind))
    alone = kind in CAUSAL_KINDS
    family = {"family": "decoder-only"} if alone else {"generator_backbone": backbone}
    job = make_job(backbone=backbone, max_item_tokens=24, recommender=SHORT, **family)
    train(job, Progress())
    pair = Pair.load(job.out)
    assert pair.recommender.config.model_type == kind.removesuffix("-gated")
    assert pair.table.violations(pair.tokenizer, max_tokens=6, item_ids=list(pair.table.item_ids)) == []
    assert index_ids(IndexJob(job.out, job.items_clean, job.work, job.index, "cpu"), Progress())[0] == pair.table
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
    found = engine.recommend([history], 5, Decoding(beams=5, scores="vocabulary", mask_seen=False))[0]
    assert [hit.item_id for hit in found] == [pair.table.item_ids[item] for item, _ in expected]
    assert [hit.score for hit in found] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_models_with_different_tokenizers_are_refused(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents IDs written with one tokenizer and read with another: silent garbage."""
    ours, theirs = checkpoint(tmp_path / "t5", "t5"), checkpoint(tmp_path / "bart", "bart")
    with pytest.raises(BadInput, match="different tokenizers"):
        models_of(make_job(backbone=str(ours), generator_backbone=str(theirs)))


def test_checkpoints_that_contradict_themselves_are_refused(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents IDs that never end because config and tokenizer name other end tokens, and index errors in a layer."""
    wrong = checkpoint(tmp_path / "end", "bart")
    edit(wrong, eos_token_id=7)
    with pytest.raises(BadInput, match="ends texts with token 2, its config with 7"):
        models_of(make_job(wrong.name, backbone=str(wrong)))
    wrong = checkpoint(tmp_path / "start", "mbart")
    edit(wrong, decoder_start_token_id=None)
    with pytest.raises(BadInput, match="which token the decoder starts with"):
        models_of(make_job(wrong.name, backbone=str(wrong)))
    wrong = checkpoint(tmp_path / "small", "t5", spare=-3)
    with pytest.raises(BadInput, match=r"its tokenizer has \d+ tokens, the model \d+"):
        models_of(make_job(wrong.name, backbone=str(wrong)))
    edit(wrong, vocab_size=10_000)
    with pytest.raises(BadInput, match="weights cannot be read"):
        models_of(make_job(wrong.name, backbone=str(wrong)))


def test_texts_longer_than_the_generator_reads_are_refused(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents an index error in the middle of the first re-index; on a GPU it would kill the process."""
    backbone = checkpoint(tmp_path / "bart", "bart", positions=8)
    with pytest.raises(BadInput, match=r"(?s)train\.max_item_tokens.*set it to 8 or less"):
        models_of(make_job(backbone=str(backbone), generator_backbone=str(backbone), max_item_tokens=64))


@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2", "llama"])
def test_any_words_come_back_through_a_foreign_tokenizer(kind: str, tmp_path: Path) -> None:
    """Prevents IDs that the table refuses: a byte-level BPE gives a first word other tokens than one after a space."""
    tokenizer = build_tokenizer(str(checkpoint(tmp_path / kind, kind)))
    words = ["black soap", "soap black", "crème brûlée 3", "石鹸 sonic", "x"]
    tokens = encode_words(tokenizer, words)
    assert decode_words(tokenizer, tokens) == words
    assert tokenizer.unk_token_id not in {token for row in tokens for token in row}
