"""What the phases feed the models: one table per round, fresh prompts per epoch, labels that end and are padded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from components.networks.families import seq2seq_model
from components.progress import Progress
from components.recommender.engine import Engine
from components.settings.params import Index
from components.settings.train import GeneratorTraining
from components.textid.words.tokenizer import decode_words, encode_words
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.cold_start import ColdStart, Items, first_ids
from components.training.phases.generator import GeneratorPhase, outside_ids
from components.training.phases.recommender import RecommenderPhase, user_ids
from components.training.phases.soft import write_soft
from components.training.run import train
from tests.training.phases.conftest import World, world_of

MakeJob = Callable[..., Job]


def test_prompts_and_order_are_drawn_anew_in_every_epoch(world: World) -> None:
    """Prevents a model that learns one phrasing per sample by heart, and a resumed epoch that draws others."""
    phase = world.recommender_phase()

    def drawn(epoch: int) -> dict[int, int]:
        return {
            int(t): int(p) for rows in phase.batches(epoch) for t, p in zip(rows.targets, rows.templates, strict=True)
        }

    assert drawn(0).keys() == drawn(1).keys()
    assert drawn(0) != drawn(1)
    assert list(drawn(0).items()) == list(drawn(0).items())


def test_every_round_and_every_pass_of_the_cold_start_draws_its_own(world: World) -> None:
    """Prevents a second round that goes through the users, or a second pass through the items, as the first did."""

    def drawn(phase: RecommenderPhase | GeneratorPhase) -> list[tuple[list[int], list[int]]]:
        return [(rows.targets.tolist(), rows.templates.tolist()) for rows in phase.batches(0)]

    assert drawn(world.recommender_phase(round=1)) != drawn(world.recommender_phase(round=2))
    assert drawn(world.generator_phase(round=2)) != drawn(world.generator_phase(round=3))
    cold_start = ColdStart(world.context, world.generator, first_ids(world.context))
    passes = [[rows.numbers.tolist() for rows in cold_start.batches(epoch)] for epoch in (0, 1)]
    assert passes[0] != passes[1]


def test_targets_histories_and_prompts_are_of_the_rounds_table(world: World) -> None:
    """Prevents labels of one round's IDs behind prompts of another's."""
    for table in (world.table, world.other):
        phase = world.recommender_phase(table)
        histories = world.context.data.histories
        values, starts = histories.values, histories.starts_of(np.arange(len(histories.values)))
        for rows in phase.batches(0):
            batch = phase._samples.collate(rows)
            for row, (target, template) in enumerate(zip(rows.targets, rows.templates, strict=True)):
                history = [table.token_ids[item] for item in values[starts[target] : target]]
                prompt = world.context.pieces.build(int(template), history, max_tokens=512)
                assert batch.input_ids[row][batch.attention_mask[row] == 1].tolist() == list(prompt.token_ids)
                labels = [*table.token_ids[values[target]], world.context.end_token]
                padding = [-100] * (batch.labels.shape[1] - len(labels))
                assert batch.labels[row].tolist() == labels + padding


def test_the_generator_phase_keeps_the_target_hard(world: World) -> None:
    """Prevents prompts without soft IDs, and a target that is not the table's. Old items: the test of words below."""
    phase = world.generator_phase()
    values = world.context.data.histories.values
    rows = phase.batches(0)[0]
    batch, embeddings = phase.read_softly(rows)
    plain = world.recommender.embed(batch.input_ids)
    changed = (embeddings - plain).abs().sum(-1) > 0
    for row, target in enumerate(rows.targets):
        labels = batch.labels[row][batch.labels[row] != -100].tolist()
        assert labels == [*world.table.token_ids[values[target]], world.context.end_token]
        assert int(changed[row].sum()) >= 1
    phase.close()
    assert all(parameter.requires_grad for parameter in world.recommender.module.parameters())


def test_the_prompts_of_the_generator_phase_hold_its_words_for_the_newest_items_alone(make_job: MakeJob) -> None:
    """Prevents words of another item, too few or too many soft IDs, and one phrasing for all; each ID by itself is the
    slow and obvious reference."""
    settings = GeneratorTraining(batch_size=7, samples=0, max_history=1)
    world = world_of(make_job(dropout=0.0, generator=settings))
    context, hard = world.context, world.table.token_ids
    torch.manual_seed(1)
    for weight in world.generator.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight)  # a fresh one writes the same for every item

    generator = seq2seq_model(world.generator, end_token=context.end_token)

    phase, found, lengths = world.generator_phase(), set(), set()

    def written(item: int) -> tuple[int, ...]:
        texts, legal = [context.texts.tensors(np.array([item]), context.ranks.device)], phase.legal(np.array([item]))
        never = outside_ids(context.tokenizer)
        return tuple(write_soft(generator, texts, max_tokens=6, never=never, legal=legal).words()[0])

    for rows in phase.batches(0):
        batch, _ = phase.read_softly(rows)
        for row, (history, template) in enumerate(zip(phase.histories(rows), rows.templates, strict=True)):
            words = [*(hard[item] for item in history[:-1]), written(int(history[-1]))]
            prompt = context.pieces.build(int(template), words, max_tokens=512)
            assert batch.input_ids[row][batch.attention_mask[row] == 1].tolist() == list(prompt.token_ids)
            found.add(words[-1])
            lengths.add(len(history))
    assert len(found) > 1 and lengths == {1, 2}, "or this would show nothing"


@pytest.mark.parametrize("faithful", [True, False])
def test_soft_ids_say_what_the_item_says(make_job: MakeJob, faithful: bool) -> None:
    """Prevents a generator that is taught on words which the table will not hold, and distributions over them."""
    world = world_of(make_job(dropout=0.0, index=Index(max_tokens=6, candidates=4, groups=2, faithful=faithful)))
    torch.manual_seed(1)
    for weight in world.generator.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight)
    context, phase = world.context, world.generator_phase()
    items = np.arange(len(context.data.texts))
    soft = write_soft(
        seq2seq_model(world.generator, end_token=context.end_token),
        [context.texts.tensors(items, context.ranks.device)],
        max_tokens=6,
        never=phase.never,
        legal=phase.legal(items),
    )
    own = [set(text.removeprefix("title: ").split()) for text in context.data.texts]
    said = decode_words(context.tokenizer, soft.words())
    assert faithful == all(set(words.split()) <= mine for words, mine in zip(said, own, strict=True))
    if faithful:
        for words, mine, start, length in zip(said, own, soft.starts, soft.lengths, strict=True):
            assert words and len(set(words.split())) == len(words.split())
            among = soft.probabilities[start : start + length].sum(0).nonzero()[:, 0].tolist()
            pieces = {token for row in encode_words(context.tokenizer, sorted(mine)) for token in row}
            assert set(among) == pieces | {context.end_token}


def test_soft_ids_hold_what_the_writer_may_write(world: World) -> None:
    """Prevents soft IDs of commas, the separator of the prompts, which no ID will ever hold."""
    never = set(world.context.tokenizer.convert_ids_to_tokens(list(outside_ids(world.context.tokenizer))))
    assert {",", "<pad>", "<unk>", "<0xC3>", "▁"} <= never
    assert not {"</s>", "▁soap", "soap", "a", "7"} & never


def test_the_recommender_is_still_while_the_generator_learns(world: World) -> None:
    """Prevents a recommender that drifts, or that hides the gradient behind dropout."""
    phase = world.generator_phase()
    loss, tokens = phase.loss(phase.batches(0)[0])
    loss.backward()
    assert tokens > 0
    assert not world.recommender.module.training
    assert all(parameter.grad is None for parameter in world.recommender.module.parameters())
    assert max(float(p.grad.abs().max()) for p in world.generator.parameters() if p.grad is not None) > 0


def test_a_user_is_seen_once_per_epoch_of_the_generator_phase(world: World) -> None:
    """Prevents users with long histories from steering the IDs."""
    phase = world.generator_phase()
    starts_of = world.context.data.histories.starts_of
    users = [int(start) for rows in phase.batches(0) for start in starts_of(rows.targets)]
    assert len(users) == len(set(users)) == 6


def test_the_cold_start_teaches_whole_words_that_end(world: World) -> None:
    """Prevents first IDs that never end, and padding that is learned."""
    ids = first_ids(world.context)
    phase = ColdStart(world.context, world.generator, ids)
    items = sorted(int(item) for batch in phase.batches(0) for item in batch.numbers)
    assert items == [number for number, tokens in enumerate(ids) if tokens]
    for number, tokens in enumerate(ids):
        row = phase._labels[number]
        assert row[: len(tokens) + 1].tolist() == [*tokens, world.context.end_token]
        assert set(row[len(tokens) + 1 :].tolist()) <= {-100}
    loss, count = phase.loss(Items(np.arange(4)))
    assert torch.isfinite(loss)
    assert count == sum(len(tokens) + 1 for tokens in ids[:4])


@pytest.mark.parametrize(("steps", "epochs", "batches"), [(1, 1, 1), (6, 1, 6), (12, 2, 6), (13, 3, 6)])
def test_the_cold_start_takes_its_steps_in_whole_passes(
    make_job: MakeJob, steps: int, epochs: int, batches: int
) -> None:
    """Prevents a large catalogue whose one pass takes hours, and a small one that is left after a few steps."""
    job = make_job(generator=GeneratorTraining(cold_start_steps=steps, batch_size=2))
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())
    phase = ColdStart(context, fresh_models(context)[0].generator, first_ids(context))
    assert (phase.epochs, [len(phase.batches(epoch)) for epoch in range(epochs)]) == (epochs, [batches] * epochs)


@pytest.mark.parametrize(
    ("size", "asked", "rate"),
    [("micro", None, 2e-3), ("d_model=512,layers=1", None, 2.5e-4), ("d_model=512,layers=1", 3e-3, 3e-3)],
)
def test_a_wide_generator_learns_to_copy_at_a_gentler_rate(
    make_job: MakeJob, size: str, asked: float | None, rate: float
) -> None:
    """Prevents the rate that suits a small one: at d=256 the loss stayed at 5, and every ID would have been noise."""
    job = make_job(size=size, generator=GeneratorTraining(cold_start_steps=2, cold_start_lr=asked))
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())
    phase = ColdStart(context, fresh_models(context)[0].generator, first_ids(context))
    assert phase.peak_lr == pytest.approx(rate)


def test_user_id_stands_in_every_prompt_and_holds_no_target(make_job: MakeJob) -> None:
    """Prevents the released code's leak: a prompt's user ID is that of the items before its target, in both phases."""
    job = make_job(user_id=True, dropout=0.0)
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())
    state, recommender = fresh_models(context)
    table = adopt({}, context.tokenizer, tables.item_ids, tables.texts, max_tokens=6)[0]
    users = user_ids(context, table)
    assert users is not None
    phase = RecommenderPhase(context, recommender, table, round=1, after=lambda epoch, row: False)
    offsets, values = tables.histories.offsets, tables.histories.values
    for rows in phase.batches(0):
        batch = phase._samples.collate(rows)
        for row, at in enumerate(rows.targets):
            start = offsets[np.searchsorted(offsets, at, side="right") - 1]
            expected = users.of(values[start:at].tolist())
            assert expected and tuple(batch.input_ids[row, : len(expected)].tolist()) == expected
    generator_phase = GeneratorPhase(context, state.generator, recommender, table, round=2)
    rows = generator_phase.batches(0)[0]
    prompts, _ = generator_phase.read_softly(rows)
    start = offsets[np.searchsorted(offsets, rows.targets[0], side="right") - 1]
    expected = users.of(values[start : rows.targets[0]].tolist())
    assert tuple(prompts.input_ids[0, : len(expected)].tolist()) == expected


def test_trained_with_user_ids_is_served_with_user_ids(make_job: MakeJob) -> None:
    """Prevents a model that learned prompts which the engine does not build."""
    job = make_job(user_id=True, rounds=1)
    train(job, Progress())
    engine = Engine.load(job.out)
    assert engine._users is not None
    prompt = engine._prompt([0, 1])
    assert prompt.token_ids[: len(engine._users.of([0, 1]))] == engine._users.of([0, 1])
