"""A training whose prompts hold words of neighbours: leak-proof, from the lists to a pair that needs no graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.adapt import adapting, with_ids
from components.errors import BadInput
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.prompts import neighbours
from components.settings.decoding import Decoding
from components.settings.train import ContinualTraining, Family, Neighbours
from components.storage.artifacts import read_json
from components.storage.manifest import sha256
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.training.job import Job
from components.training.phases.recommender import neighbour_words, training_set
from components.training.run import train
from components.voices.neighbours import write
from tests.training.fork_server import ForkServer
from tests.training.phases.conftest import World, world_of

MakeJob = Callable[..., Job]
FAMILIES = ["encoder-decoder", "decoder-only"]
CHOSEN = Neighbours(voice="graph", items=2, words=3, dropout=0.0, folds=3)


def with_neighbours(make_job: MakeJob, name: str = "a", chosen: Neighbours = CHOSEN, **settings: Any) -> Job:
    job = make_job(name, neighbours=chosen, **settings)
    folder = job.work.parent / "neighbours"  # beside the work folder, which a training clears
    return replace(job, neighbours=write(folder, job.items_clean, job.histories, chosen, seed=job.seed))


def prompts_of_user(world: World, user: int) -> list[list[int]]:
    """Every row of the training set of a user, without its padding and, of a prompt, its target."""
    made = training_set(world.context, world.table)
    found = []
    for rows in made.epoch(seed=1, number=0, batch_size=4):
        batch = made.collate(rows)
        places = rows.spans.end - 1 if hasattr(rows, "spans") else rows.targets
        owners = np.searchsorted(world.context.data.histories.offsets, places, side="right") - 1
        for row in np.flatnonzero(owners == user):
            tokens = [int(each) for each in batch.input_ids[row][batch.attention_mask[row].bool()]]
            own = world.table.token_ids[int(world.context.data.histories.values[places[row]])]
            # The target of a decoder-only model stands at the end of the row itself.
            found.append((int(places[row]), tokens[: -len(own)] if hasattr(rows, "spans") else tokens))
    return [tokens for _, tokens in sorted(found)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_next_item_changes_no_prompt_of_its_user(make_job: MakeJob, family: Family) -> None:
    """Prevents the leak that this design is about: a graph of all users has what this user took next as a neighbour
    of the item before it."""
    calm = with_neighbours(make_job, family=family)
    before = world_of(calm)
    taken = pq.read_table(calm.histories).to_pylist()
    taken[2]["history"][-1] = "h3honey"
    pq.write_table(type(pq.read_table(calm.histories)).from_pylist(taken), calm.histories)
    after = world_of(with_neighbours(make_job, "b", family=family))
    assert prompts_of_user(before, 2) == prompts_of_user(after, 2)
    changed = [user for user in range(14) if prompts_of_user(before, user) != prompts_of_user(after, user)]
    assert changed, "or the lists would not follow from histories at all"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_reads_neighbours_without_a_graph(make_job: MakeJob, family: Family) -> None:
    """Prevents a pair that is asked in another way than it was taught and judged: in other words, of other neighbours,
    or of none; and answers that depend on who else is asked."""
    job = with_neighbours(make_job, family=family, refit=True)
    facts = train(job, Progress())
    assert facts["train"]["neighbours"]["voice"] == "graph"
    table, said = IdTable.load(job.out / "id_table.parquet"), IdTable.load(job.out / neighbours.FILE)
    world = world_of(replace(job, work=job.work.parent / "again"))
    listed, engine = world.context.neighbours, Engine.load(job.out, device="cpu")
    assert listed is not None and engine._neighbours is not None
    whole = listed.items.between(CHOSEN.folds * listed.count, (CHOSEN.folds + 1) * listed.count)
    assert [item for item, near in zip(table.item_ids, whole, strict=True) if len(near)] == list(said.item_ids)
    words = neighbour_words(world.context, table)
    assert words is not None
    assert [row.tolist() for row in engine._neighbours] == [row.tolist() for row in words.answering]
    for item, near in zip(table.item_ids, whole, strict=True):
        text = said.words[said.row_of[item]] if len(near) else ""
        names = [table.words[other] for other in near]
        assert len(near) <= 2 and all(set(name.split()) & set(text.split()) for name in names)
    histories = [["s0soap", "s1soap"], [], ["h0honey"], ["t3towel", "b1brush", "s2soap"]]
    answers = engine.recommend(histories, 3, Decoding(beams=5))
    backwards = engine.recommend(histories[::-1], 3, Decoding(beams=5, batch_users=1))[::-1]
    assert [[hit.item_id for hit in row] for row in answers] == [[hit.item_id for hit in row] for row in backwards]
    without = Engine(
        engine._model,
        engine._pieces,
        engine.catalogue,
        max_history=engine._max_history,
        device=engine._device,
    )
    rows = engine.catalogue.rows(histories[0])
    assert len(engine._prompt(rows).token_ids) > len(without._prompt(rows).token_ids)
    assert [hit.score for hit in without.recommend(histories[:1], 3, Decoding(beams=5))[0]] != pytest.approx(
        [hit.score for hit in answers[0]], abs=1e-6
    )
    own = Ragged.of([[engine.catalogue.row_of[hit.item_id] for hit in row] for row in answers])
    scores = engine.scores(histories, own, Decoding())
    assert scores == pytest.approx([hit.score for row in answers for hit in row], abs=1e-4)


def test_a_new_item_has_no_neighbours(make_job: MakeJob) -> None:
    """Prevents words of the item that had its number before, where `index` or `add-items` lengthens a catalogue."""
    job = with_neighbours(make_job, family="decoder-only")
    train(job, Progress())
    table = IdTable.load(job.out / "id_table.parquet")
    turned = table.only(table.item_ids[::-1])
    longer = IdTable(("new", *turned.item_ids), ("of it", *turned.words), ((*table.token_ids[0], 9), *turned.token_ids))
    engine = Engine.load(job.out, device="cpu")
    other = Engine.load(job.out, device="cpu", catalogue=Catalogue(longer))
    assert engine._neighbours is not None and other._neighbours is not None
    assert [row.tolist() for row in other._neighbours] == [[], *[row.tolist() for row in engine._neighbours][::-1]]


def test_the_generator_learns_in_the_same_prompts(make_job: MakeJob) -> None:
    """Prevents soft IDs in prompts that the recommender has never been taught, and another user's block in them."""
    world = world_of(with_neighbours(make_job, dropout=0.0))
    phase, words = world.generator_phase(), neighbour_words(world.context, world.table)
    assert words is not None
    seen = 0
    for rows in phase.batches(0):
        batch, _ = phase.read_softly(rows)
        users = np.searchsorted(world.context.data.histories.offsets, rows.targets, side="right") - 1
        for row, (user, history) in enumerate(zip(users, phase.histories(rows), strict=True)):
            tokens = "".join(f" {token}" for token in batch.input_ids[row].tolist())
            for item in history.tolist():
                behind = words.tokens.row(int(words.blocks[user]) * words.count + item).tolist()[:-1]
                assert "".join(f" {token}" for token in behind) in tokens
                seen += bool(behind)
    assert seen


def test_lists_that_nobody_made_are_asked_for(make_job: MakeJob) -> None:
    """Prevents a training that says it reads neighbours and reads none."""
    with pytest.raises(BadInput, match="nobody listed the neighbours"):
        train(make_job(neighbours=CHOSEN), Progress())


def test_a_pair_goes_on_as_it_reads(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a pair that goes on in prompts it has never read."""
    plain, read = make_job("plain", rounds=1), with_neighbours(make_job, "read", rounds=1)
    for job in (plain, read):
        train(job, Progress())
    for name, start, own in (("off", read, None), ("on", plain, CHOSEN)):
        settings: dict[str, Any] = {"start": "x", "neighbours": own or Neighbours(), "rounds": 1}
        job = replace(make_job(name, **settings), start=start.out, neighbours=read.neighbours)
        with pytest.raises(BadInput, match="neighbours"):
            train(job, Progress())
    settings = {"start": "x", "rounds": 1, "continual": ContinualTraining(epochs=1)}
    job = replace(with_neighbours(make_job, "further", **settings), start=read.out)
    assert train(job, Progress())["start"]["generation"] == 1
    assert read_json(job.out / "pair.json")["train"]["neighbours"]["voice"] == "graph"
    assert (job.out / neighbours.FILE).is_file()


def test_another_shop_takes_over_no_neighbours(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents words of one shop's items behind those of another that have the same ids; its own are listed anew."""
    job = with_neighbours(make_job, rounds=1)
    facts = train(job, Progress())
    with_ids(job.out, job.out / "id_table.parquet", tmp_path / "elsewhere", drop_repeats=True)
    assert Engine.load(tmp_path / "elsewhere", device="cpu")._neighbours is None
    assert adapting(facts, "work/bundles/x", "full", epochs=1)["train"]["neighbours"]["voice"] == "graph"
    settings: dict[str, Any] = {"start": "x", "start_elsewhere": True, "rounds": 1}
    there = replace(with_neighbours(make_job, "there", **settings), start=job.out)
    train(there, Progress())
    assert Engine.load(there.out, device="cpu")._neighbours is not None


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_it_ends_with_the_same_bytes(make_job: MakeJob, fork_server: ForkServer, family: Family) -> None:
    """Prevents an item that stands with neighbours in one run of an epoch and without them in another."""
    some = replace(CHOSEN, dropout=0.5)
    jobs = [with_neighbours(make_job, name, some, family=family, checkpoint_seconds=0.0) for name in ("calm", "kill")]
    assert fork_server.run(jobs[0])["code"] == 0
    assert fork_server.run(jobs[1], IDIOM_CRASH="recommender.batch:kill:3")["code"] == -9
    answer = fork_server.run(jobs[1])
    assert answer["code"] == 0 and "going on from checkpoint" in answer["error"], answer["error"]
    assert sha256(jobs[0].out) == sha256(jobs[1].out)
