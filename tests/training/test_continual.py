"""A training that goes on from a trained pair: IDs that stand, what is new, how near it stays, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from components.errors import BadInput
from components.networks.backbone import load_model
from components.progress import Progress
from components.settings.params import Index
from components.settings.train import ContinualTraining, Train
from components.storage.artifacts import read_json
from components.storage.manifest import sha256, verify_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.training import run
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.ids.indexing import IndexJob, index_ids
from components.training.job import Job
from components.training.models.fresh import fresh_models, previous_recommender, tokenizer_of
from components.training.packed import dataset, taught
from components.training.phases.recommender import RecommenderPhase
from components.training.phases.validation import Validation
from tests.heard import Heard
from tests.training.conftest import COLOURS, KINDS, micro, write_tables
from tests.training.fork_server import ForkServer

FAMILIES = ["encoder-decoder", "decoder-only"]
INDEX = Index(max_tokens=6, candidates=4, groups=2)


def settings(family: str, **changes: Any) -> Train:
    once: dict[str, Any] = {"family": family, "rounds": 1, "dropout": 0.0, "checkpoint_seconds": 600.0}
    once["continual"] = ContinualTraining(rate=0.1, epochs=1, kl=1.0)
    return replace(micro(), generator=replace(micro().generator, cold_start_steps=4), **{**once, **changes})


def job_in(folder: Path, name: str, train: Train, tables: str = "tables", start: Path | None = None) -> Job:
    return Job(
        items_clean=folder / tables / "items.parquet",
        histories=folder / tables / "histories.parquet",
        valid_targets=folder / tables / "valid_targets.parquet",
        out=folder / name / "pair",
        work=folder / name / "work",
        train=train,
        index=INDEX,
        seed=3,
        train_key="k" * 64,
        start=start,
    )


def write_later(before: Path, after: Path) -> None:
    """The tables a day later: two new items; u000 bought one of them, u001 two more items, u099 is new, and an older
    purchase of u002 has come in late."""
    after.mkdir()
    shutil.copy(before / "valid_targets.parquet", after)
    items = [{"item_id": f"n{n}", "text": f"title: {COLOURS[n]} sponge number {n} of the soap series"} for n in (0, 1)]
    items += pq.read_table(before / "items.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist(items), after / "items.parquet")
    rows = {row["user_id"]: row["history"] for row in pq.read_table(before / "histories.parquet").to_pylist()}
    rows["u000"].append("n0")
    rows["u001"] += ["n1", "h0honey"]
    rows["u002"].insert(0, "h1honey")
    rows["u099"] = ["n0", "n1"]
    pq.write_table(pa.table({"user_id": list(rows), "history": list(rows.values())}), after / "histories.parquet")


@pytest.fixture(scope="module")
def champions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each family, with the tables of two days and the pair `champion` of the first."""
    folders = {}
    for family in FAMILIES:
        folder = folders[family] = tmp_path_factory.mktemp(family)
        write_tables(folder / "tables")
        write_later(folder / "tables", folder / "later")
        run.train(job_in(folder, "champion", settings(family)), Progress())
    return folders


def going_on(folder: Path, family: str, name: str, tables: str = "later", **changes: Any) -> Job:
    """A job that goes on from the champion."""
    train = settings(family, start="work/bundles/champion", **changes)
    return job_in(folder, name, train, tables, start=folder / "champion" / "pair")


def context_of(job: Job) -> Context:
    tables = dataset.load(job)
    return Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())


def phase_of(context: Context, table: IdTable) -> RecommenderPhase:
    assert context.start is not None
    _, recommender = fresh_models(context)
    before = previous_recommender(context, context.start)
    return RecommenderPhase(
        context,
        recommender,
        table,
        round=1,
        after=lambda epoch, row: False,
        known=context.known,
        before=before,
    )


def taught_places(phase: RecommenderPhase, epoch: int) -> list[int]:
    """Places in the histories of all items that an epoch teaches."""
    found: list[int] = []
    for rows in phase.batches(epoch):
        if hasattr(rows, "spans"):
            found += [at for a, b in zip(rows.spans.taught, rows.spans.end, strict=True) for at in range(a, b)]
        else:
            found += rows.targets.tolist()
    return sorted(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_stand_and_the_stage_index_agrees(champions: dict[str, Path], family: str, tmp_path: Path) -> None:
    """Prevents a recommender whose items have other names in the morning; new items have names of their own."""
    folder = champions[family]
    job = going_on(folder, family, "stands")
    facts = run.train(job, Progress())
    old, new = (IdTable.load(folder / name / "pair" / "id_table.parquet") for name in ("champion", "stands"))
    assert new.churn(old) == 0.0
    assert {*new.item_ids} - {*old.item_ids} == {"n0", "n1"}
    assert len({*new.words}) == len(new)
    table, report = index_ids(IndexJob(job.out, job.items_clean, tmp_path, INDEX, "cpu"), Progress())
    assert (table.words, report["written"], report["churn"]) == (new.words, 0, 0.0)
    assert facts["start"]["generation"] == 1
    assert facts["start"]["sha256"] == sha256(folder / "champion" / "pair" / "manifest.json")
    log = [json.loads(line) for line in (job.out / run.LOG).read_text().splitlines()]
    assert [row["event"] for row in log] == ["index", "start", "epoch", "chosen"]
    assert log[1]["users"] == {"new": 1, "grown": 2, "unchanged": 11, "changed": 1, "shorter": 0, "less": 0, "gone": 0}
    verify_manifest(job.out)


@pytest.mark.parametrize("family", FAMILIES)
def test_at_rate_zero_the_weights_are_the_champions(champions: dict[str, Path], family: str) -> None:
    """Prevents fresh weights, dropout or weight decay that come in by another door than the rate."""
    folder = champions[family]
    job = unjudged(going_on(folder, family, "still", continual=ContinualTraining(rate=0.0, epochs=1)))
    assert run.train(job, Progress())["epoch"] == 1, "without validation the last state is taken"
    for part in ("recommender", "generator"):
        old, new = (load_file(folder / name / "pair" / part / "model.safetensors") for name in ("champion", "still"))
        assert all((old[name] == new[name]).all() for name in old)
        assert old.keys() == new.keys()


def unjudged(job: Job) -> Job:
    """The same without validation targets."""
    path = job.out.parent / "no_targets.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pq.read_table(job.valid_targets).slice(0, 0), path)
    return replace(job, valid_targets=path)


@pytest.mark.parametrize("rate", [0.0, 400.0])
def test_an_update_that_is_no_better_is_not_taken(champions: dict[str, Path], rate: float) -> None:
    """Prevents a night of bad data that replaces what was learned: the start is the first candidate, and stays."""
    folder, name = champions["encoder-decoder"], f"rate-{rate:.0f}"
    job = going_on(folder, "encoder-decoder", name, continual=ContinualTraining(rate=rate, epochs=1, kl=0.0))
    facts = run.train(job, Progress())
    log = [json.loads(line) for line in (job.out / run.LOG).read_text().splitlines()]
    before, after = log[1]["valid_ndcg_at_10"], log[2]["valid_ndcg_at_10"]
    assert facts["epoch"] == int(after > before)
    assert facts["valid"]["ndcg_at_10"] == max(before, after)


@pytest.mark.parametrize("loss", ["vocabulary", "trie"])
@pytest.mark.parametrize("family", FAMILIES)
def test_at_the_first_step_nothing_diverges(champions: dict[str, Path], family: str, loss: Any) -> None:
    """Prevents a model that is held near to something else than the champion: another mode, mask or batch."""
    folder = champions[family]
    recommender = replace(micro().recommender, loss=loss)
    gradients = []
    for kl in (0.0, 5.0):
        job = going_on(
            folder, family, "first", recommender=recommender, continual=ContinualTraining(rate=0.1, epochs=1, kl=kl)
        )
        context = context_of(job)
        phase = phase_of(context, table_for(context))
        total, count = phase.loss(phase.batches(0)[0])
        total.backward()
        norms = [p.grad.abs().sum() for p in phase.module.parameters() if p.grad is not None]
        gradients.append((float(total.detach()), count, float(sum(norms))))
    assert gradients[0][1] == gradients[1][1] > 0
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-5)


def table_for(context: Context) -> IdTable:
    """The champion's IDs, and any for the new items."""
    assert context.start is not None
    old = context.start.table
    words = dict(zip(old.item_ids, old.words, strict=True)) | {"n0": "zero", "n1": "one"}
    return IdTable.from_words(context.tokenizer, {item: words[item] for item in context.data.item_ids})


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_new_is_taught_once_and_a_share_of_the_old_again(champions: dict[str, Path], family: str) -> None:
    """Prevents new events that are missed or taught twice, and an update that is a whole training in disguise."""
    folder = champions[family]
    context = context_of(going_on(folder, family, "alone", continual=ContinualTraining(epochs=1, replay=0.0)))
    histories = context.data.histories
    users = dict(zip(sorted(f"u{n:03d}" for n in (*range(14), 99)), range(15), strict=True))
    first = 1 if family == "encoder-decoder" else 0  # nothing stands before a first item, which it then does not teach
    wanted: list[int] = []
    for user, taught_before in (("u000", 3), ("u001", 2), ("u002", 0), ("u099", 0)):
        row = users[user]
        wanted += range(int(histories.offsets[row]) + max(taught_before, first), int(histories.offsets[row + 1]))
    phase = phase_of(context, table_for(context))
    assert taught_places(phase, 0) == taught_places(phase, 1) == sorted(wanted)

    context = context_of(going_on(folder, family, "replayed", continual=ContinualTraining(epochs=1, replay=0.5)))
    phase = phase_of(context, table_for(context))
    once, again = taught_places(phase, 0), taught_places(phase, 1)
    replayed = sorted(set(once) - set(wanted))
    known = context.known
    assert known is not None
    assert set(wanted) <= set(once)
    assert once != again, "another draw in each epoch"
    for place in replayed:
        row = int(np.searchsorted(histories.offsets, place, side="right")) - 1
        assert place - histories.offsets[row] < known.items[row], "what is replayed is old"
    old = sum(max(int(n) - first, 0) for n in known.items) if first else int((known.items > 0).sum())
    assert sum(len(rows) for rows in phase.batches(0)) == round(0.5 * old) + phase_new(phase)


def phase_new(phase: RecommenderPhase) -> int:
    return len(phase._samples._pools.new)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_nothing_is_new_nothing_is_learned(champions: dict[str, Path], family: str) -> None:
    """Prevents a champion that drifts by being started from every night."""
    folder = champions[family]
    job = going_on(folder, family, "same", tables="tables")
    run.train(job, Progress())
    old, new = (load_file(folder / n / "pair" / "recommender" / "model.safetensors") for n in ("champion", "same"))
    assert all((old[name] == new[name]).all() for name in old)


def test_long_histories_are_cut_alike(champions: dict[str, Path]) -> None:
    """Prevents windows of a decoder-only model that teach across the bound of old and new, or leave a gap."""
    context = context_of(going_on(champions["decoder-only"], "decoder-only", "long", max_history=3))
    from components.recommender.batches.windows import Windows

    random = np.random.default_rng(5)
    lengths = random.integers(1, 30, size=40)
    histories = Ragged.of([random.integers(0, 20, size=n).tolist() for n in lengths])
    known = random.integers(0, lengths + 1)
    windows = Windows(histories, table_for(context).token_ids, context.pieces, max_history=3, known=known)
    bound = histories.offsets[:-1] + known
    for pool, begins, ends in (
        (windows._pools.new, bound, histories.offsets[1:]),
        (windows._pools.old, histories.offsets[:-1], bound),
    ):
        spans = windows.spans(np.asarray(pool))[0]
        taught = [at for a, b in zip(spans.taught, spans.end, strict=True) for at in range(a, b)]
        assert sorted(taught) == [at for a, b in zip(begins, ends, strict=True) for at in range(a, b)]


def test_a_pair_without_the_table_knows_nothing_and_says_so(champions: dict[str, Path]) -> None:
    """Prevents an update that skips events because nobody wrote down what was taught."""
    folder = champions["decoder-only"]
    old = folder / "older"
    shutil.copytree(folder / "champion" / "pair", old)
    (old / taught.TAUGHT).unlink()
    manifest = read_json(old / "manifest.json")
    del manifest["files"][taught.TAUGHT]
    (old / "manifest.json").write_text(json.dumps(manifest))
    heard = Heard()
    job = replace(going_on(folder, "decoder-only", "untold"), start=old)
    run.train(job, Progress([heard]))
    assert any("does not say what it was taught" in line for line in heard.said)
    log = [json.loads(line) for line in (job.out / run.LOG).read_text().splitlines()]
    assert log[1]["users"] == {"new": 15}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"size": "d_model=32,layers=1,heads=2,d_ff=32"}, "train.size"),
        ({"vocabulary_size": 300}, "train.vocabulary_size"),
        ({"dropout": 0.1}, "train.dropout"),
        ({"family": "encoder-decoder"}, "train.family"),
        ({"ids": "random"}, "train.ids"),
    ],
)
def test_another_model_is_refused(champions: dict[str, Path], changes: dict[str, Any], what: str) -> None:
    """Prevents settings that are silently not what is trained."""
    job = going_on(champions["decoder-only"], "decoder-only", "refused", tables="tables")
    with pytest.raises(BadInput) as raised:
        run.train(replace(job, train=replace(job.train, **changes)), Progress())
    assert what in str(raised.value)
    assert not job.out.exists()


def test_a_folder_without_a_pair_is_refused(champions: dict[str, Path], tmp_path: Path) -> None:
    job = replace(going_on(champions["decoder-only"], "decoder-only", "nowhere"), start=tmp_path)
    with pytest.raises(BadInput, match="there is no trained pair"):
        run.train(job, Progress())


def test_data_of_an_earlier_day_are_refused(champions: dict[str, Path]) -> None:
    """Prevents a backfill that starts from a champion which has seen what it is to predict."""
    folder = champions["decoder-only"]
    job = going_on(folder, "decoder-only", "backwards", tables="earlier")
    shutil.copytree(folder / "tables", folder / "earlier")
    rows = pq.read_table(folder / "tables" / "histories.parquet").to_pylist()
    cut = [{**row, "history": row["history"][:-1]} for row in rows]
    pq.write_table(pa.Table.from_pylist(cut), job.histories)
    with pytest.raises(BadInput, match="later data"):
        run.train(job, Progress())


@pytest.mark.parametrize("of_each", [1, 2])
def test_a_deleted_item_shortens_histories_and_nothing_is_refused(champions: dict[str, Path], of_each: int) -> None:
    """Prevents every night being refused, as trained on later data, once an item that many bought is deleted."""
    folder, name = champions["decoder-only"], f"deleted-{of_each}"
    deleted = [f"{kind[0]}{number}{kind}" for kind in KINDS for number in range(of_each)]
    job = going_on(folder, "decoder-only", name, tables=name)
    shutil.copytree(folder / "tables", folder / name)
    for path in (job.items_clean, job.histories, job.valid_targets):
        table = pq.read_table(path)
        rows = [row for row in table.to_pylist() if not {row.get("item_id"), row.get("target")} & {*deleted}]
        for row in rows:
            row |= {"history": [each for each in row["history"] if each not in deleted]} if "history" in row else {}
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    context = context_of(job)
    assert context.known is not None
    counts = context.known.counts
    assert counts["less"] >= 3 and (counts["shorter"] > 0) == (of_each > 1) and context.known.untold == 0


def test_a_refit_says_what_it_taught_and_judges_by_others(champions: dict[str, Path]) -> None:
    """Prevents a validation on targets that the champion was taught, and a report that calls it strict."""
    folder = champions["decoder-only"]
    first = job_in(folder, "refitted", settings("decoder-only", refit=True))
    run.train(first, Progress())
    again = replace(going_on(folder, "decoder-only", "again", tables="tables", refit=True), start=first.out)
    context = context_of(again)
    assert context.known is not None and context.known_prolonged is not None
    assert context.known.counts["unchanged"] == context.known_prolonged.counts["unchanged"] == 14
    assert context.known.beyond.all()
    assert Validation.sample(context).users == [[]]
    with pytest.raises(BadInput, match=r"set train\.refit to true"):
        run.train(replace(again, train=replace(again.train, refit=False)), Progress())


@pytest.mark.parametrize("refit", [False, True])
def test_an_update_that_was_not_taken_says_that_nothing_new_was_taught(champions: dict[str, Path], refit: bool) -> None:
    """Prevents events that are never learned: the night's update is not taken (epoch 0), its version is promoted all
    the same, for its ranker say, and the next night would take the events of both for known."""
    folder, name = champions["decoder-only"], f"not-taken-{refit}"
    first = job_in(folder, f"{name}-first", settings("decoder-only", refit=refit))
    run.train(first, Progress())
    still = ContinualTraining(rate=0.0, epochs=1)
    job = replace(going_on(folder, "decoder-only", name, refit=refit, continual=still), start=first.out)
    assert run.train(job, Progress())["epoch"] == 0
    weights = Path("recommender", "model.safetensors")
    assert sha256(job.out / weights) == sha256(first.out / weights)
    assert pq.read_table(job.out / taught.TAUGHT).equals(pq.read_table(first.out / taught.TAUGHT))
    night, next_night = (context_of(replace(job, start=each)).known for each in (first.out, job.out))
    assert night is not None and next_night is not None and night.counts == next_night.counts


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("point", ["recommender.batch:kill:2", "index.done:kill:1", "recommender.batch:term:1"])
def test_killed_it_ends_with_the_same_bytes(
    champions: dict[str, Path], family: Any, point: str, fork_server: ForkServer
) -> None:
    """Prevents a resumed update that starts from the champion again, draws other samples or forgets what was best."""
    folder = champions[family]
    name = f"{family}-{point.replace(':', '-')}"
    how = ContinualTraining(epochs=2, replay=0.5)
    calm = going_on(folder, family, f"{name}-calm", continual=how)
    run.train(calm, Progress())
    job = going_on(folder, family, name, continual=how, checkpoint_seconds=0.0)
    answer = fork_server.run(job, IDIOM_CRASH=point)
    assert answer["code"] in (-9, 130), answer["error"]
    assert not job.out.exists()
    answer = fork_server.run(job)
    assert answer["code"] == 0, answer["error"]
    for part in ("recommender/model.safetensors", "id_table.parquet", taught.TAUGHT):
        assert sha256(job.out / part) == sha256(calm.out / part)
    assert load_model(job.out / "recommender", family) is not None
