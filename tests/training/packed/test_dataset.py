"""Packed tables: what is mapped is what the tables say, written once, whatever the order and the size of the pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.errors import BadInput
from components.networks.backbone import build, save_model
from components.networks.tokenizer import save_tokenizer
from components.recommender.batches.batch import IGNORED
from components.settings.train import RecommenderTraining
from components.storage import parquet
from components.textid.words.tokenizer import encode_texts, train_tokenizer
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import KEPT, fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.recommender import RecommenderPhase, training_set

MakeJob = Callable[..., Job]
LISTS = pa.list_(pa.string())


def tables_of(job: Job, shuffled: bool) -> tuple[dict[str, list[str]], dict[str, tuple[list[str], str]]]:
    """Write 23 users: some with a history alone, some with a target alone; returns what was written."""
    random = np.random.default_rng(4)
    items = pq.read_table(job.items_clean)["item_id"].to_pylist()

    def some(count: int) -> list[str]:
        return [items[at] for at in random.integers(len(items), size=count)]

    histories = {f"u{user:02d}": some(int(random.integers(0, 6))) for user in range(23) if user % 5 != 2}
    targets = {f"u{user:02d}": (some(user % 3), some(1)[0]) for user in range(23) if user % 4 != 1}
    order = random.permutation if shuffled else lambda names: names
    names, wanted = (list(order(sorted(table))) for table in (histories, targets))
    rows = pa.array([histories[name] for name in names], LISTS)
    pq.write_table(pa.table({"user_id": names, "history": rows}), job.histories)
    contexts = pa.array([targets[name][0] for name in wanted], LISTS)
    columns = {"user_id": wanted, "context": contexts, "target": [targets[name][1] for name in wanted]}
    pq.write_table(pa.table(columns), job.valid_targets)
    return histories, targets


@pytest.mark.parametrize("shuffled", [False, True])
def test_packed_tables_are_the_tables(shuffled: bool, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against dictionaries. Prevents a target that meets the history of another user: both tables are streamed side by
    side, and the pieces here end everywhere."""
    whole = parquet.batches

    def batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
        return whole(path, columns, rows=3 if path.stem == "histories" else 2)

    monkeypatch.setattr(parquet, "batches", batches)
    monkeypatch.setattr(dataset, "_USERS", 4)
    job = make_job(refit=True)
    histories, targets = tables_of(job, shuffled)
    loaded = dataset.load(job)

    def named(numbers: Any) -> list[str]:
        return [loaded.item_ids[number] for number in numbers]

    assert [named(loaded.histories.row(at)) for at in range(len(histories))] == [
        histories[u] for u in sorted(histories)
    ]
    assert list(loaded.valid_users) == sorted(targets)
    for at, user in enumerate(sorted(targets)):
        context, target = targets[user]
        assert named(loaded.valid_prompt(at)) == [*histories.get(user, []), *context]
        assert named([loaded.valid_targets[at]]) == [target]
    longer = loaded.with_validation()
    expected = [
        [*histories.get(user, []), *targets[user][0], targets[user][1]] if user in targets else histories[user]
        for user in [*sorted(histories), *sorted(set(targets) - set(histories))]
    ]
    assert [named(longer.row(at)) for at in range(len(longer))] == expected
    assert not list((job.work / dataset.PACKED).glob("*.sorted")), "a copy of the tables stays in the work folder"


@pytest.mark.parametrize("users", ["u1 u0 u1", "u0 u0 u1", "u0 u1 u1 u2", "u0 u2 u1 u2"])
def test_a_user_who_stands_twice_is_refused(users: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents two halves of a history, of which one would be validated with the other's target; they may stand in
    one piece of the table or in two, which are of two users here."""
    monkeypatch.setattr(parquet, "batches", partial(parquet.batches, rows=2))
    job, names = make_job(), users.split()
    rows = {"user_id": names, "history": [["b0brush", "s0soap"]] * len(names)}
    pq.write_table(pa.table(rows), job.histories)
    with pytest.raises(BadInput, match=r"twice.*histories\.parquet"):
        dataset.load(job)


def test_histories_of_one_item_teach_an_encoder_decoder_nothing(make_job: MakeJob) -> None:
    """Prevents a recommender that is published untrained: of three interactions one is left to learn from."""
    job = make_job()
    pq.write_table(pa.table({"user_id": ["u0", "u1"], "history": [["b0brush"], ["s0soap"]]}), job.histories)
    pq.write_table(pq.read_table(job.valid_targets).slice(0, 0), job.valid_targets)
    with pytest.raises(BadInput, match="no training history has two items"):
        dataset.load(job)
    assert len(dataset.load(make_job("b", family="decoder-only")).histories) == 2


def test_tables_are_packed_once_and_by_the_first_rank(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents every rank and every resumed run from reading the tables again."""
    job = make_job()
    first = dataset.load(job)
    left = job.work / f".{dataset.PACKED}.0badf00d.tmp"
    left.mkdir()

    def refuse(*_: Any) -> None:
        raise AssertionError("packed again")

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_pack", refuse)
        for ranks in (Ranks(), Ranks(rank=1)):
            assert dataset.load(job, ranks).histories.values.tolist() == first.histories.values.tolist()
    path = job.work / dataset.PACKED / "histories.values"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    dataset.load(job)
    assert path.read_bytes() == content, "a damaged file is packed again"
    assert not left.exists(), "what a killed process left takes a gigabyte for ever"


def test_tables_of_another_training_are_not_used(make_job: MakeJob) -> None:
    """Prevents yesterday's histories from being trained on under today's key."""
    job = make_job()
    before = dataset.load(job)
    tables_of(job, shuffled=False)
    after = dataset.load(replace(job, train_key="other" * 8))
    assert len(after.histories) != len(before.histories)


def context_of(job: Job) -> Context:
    tables = dataset.load(job)
    return Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())


def test_item_texts_are_padded_as_they_are_asked_for(make_job: MakeJob) -> None:
    """Prevents a text that meets another item's tokens, or padding that the model reads."""
    context = context_of(make_job())
    rows = encode_texts(context.tokenizer, list(context.data.texts), max_tokens=16)
    items = np.array([7, 0, 23, 7])
    tokens, mask = context.texts.tensors(items, context.ranks.device)
    assert [row[seen == 1].tolist() for row, seen in zip(tokens, mask, strict=True)] == [rows[item] for item in items]
    assert set(tokens[mask == 0].tolist()) <= {context.tokenizer.pad_token_id}


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_a_budget_bounds_every_step_and_padding_is_reported(family: str, make_job: MakeJob) -> None:
    """Prevents `batch_tokens` from being accepted and not used, and a figure that nobody can look up."""
    job = make_job(family=family, recommender=RecommenderTraining(batch_tokens=96))
    context = context_of(job)
    table = adopt({}, context.tokenizer, context.data.item_ids, context.data.texts, max_tokens=6)[0]
    phase = RecommenderPhase(context, fresh_models(context)[1], table, round=1, after=lambda epoch, row: False)
    batches = phase.batches(0)
    collated = [training_set(context, table).collate(rows) for rows in batches]
    shapes = [batch.input_ids.shape for batch in collated]
    assert all(rows * length <= 96 or rows == 1 for rows, length in shapes) and len({rows for rows, _ in shapes}) > 1
    row: dict[str, Any] = {"target_tokens": sum(batch.target_tokens for batch in collated)}
    phase.end_epoch(0, row)
    assert 0.0 <= row["padding_share"] < 0.5
    if family == "encoder-decoder":
        padded = torch.cat([(batch.labels == IGNORED).float() for batch in collated])
        assert row["label_padding_share"] == pytest.approx(float(padded.mean()), abs=1e-6)


def test_a_tokenizer_from_scratch_cuts_the_catalogue_as_before_it_was_trimmed(make_job: MakeJob) -> None:
    """Prevents IDs and prompts in other, longer pieces than the tokenizer was trained for; and rows of a checkpoint
    that are chosen by the old ids of a tokenizer that is not its own."""
    whole, trimmed = (context_of(make_job(name, trim_vocabulary=name == "b")) for name in ("a", "b"))
    assert len(trimmed.tokenizer) < len(whole.tokenizer)
    cuts = [
        [context.tokenizer.convert_ids_to_tokens(row.tolist()) for row in map(context.texts.tokens.row, range(24))]
        + [context.tokenizer.convert_ids_to_tokens(list(head)) for head in context.pieces.heads]
        for context in (whole, trimmed)
    ]
    assert cuts[0] == cuts[1]
    assert not (trimmed.job.work / "tokenizer" / KEPT).exists()


@pytest.mark.parametrize("trimmed", [True, False])
def test_both_checkpoints_keep_the_tokens_of_the_tokenizer(trimmed: bool, make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a generator and a recommender that number their words differently after trimming, and a resumed run
    that trims another way than the killed one."""
    other = [f"the {word} of another catalogue" for word in ("lamp", "kettle", "rug", "sofa", "window")]
    whole = train_tokenizer(["title: black soap number 1 of the soap series", *other] * 9, vocabulary_size=400)
    for seed, name in enumerate(("recommender", "generator")):
        size = {"size": "d_model=16,layers=1,heads=2", "vocabulary_size": len(whole) + 9, "seed": seed}
        save_model(build("scratch", **size), tmp_path / name)
        save_tokenizer(whole, tmp_path / name)
    names = {"backbone": str(tmp_path / "recommender"), "generator_backbone": str(tmp_path / "generator")}
    context = context_of(make_job(**names, trim_vocabulary=trimmed))
    state = fresh_models(context)[0]
    if not trimmed:
        assert len(context.tokenizer) == len(whole) and state.generator.config.vocab_size == len(whole) + 9
        return
    assert len(context.tokenizer) < len(whole)
    places = torch.tensor([whole.get_vocab()[token] for token in context.tokenizer.convert_ids_to_tokens(range(99))])
    for model, name in ((state.generator, "generator"), (state.recommender, "recommender")):
        rows = build(str(tmp_path / name)).get_input_embeddings().weight
        assert torch.equal(model.get_input_embeddings().weight[:99], rows[places])
        assert model.config.vocab_size == len(context.tokenizer)
    assert fresh_models(context_of(make_job(**names)))[0].generator.config.vocab_size == len(context.tokenizer)
