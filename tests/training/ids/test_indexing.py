"""IDs written by several processes: the table of one process, whatever their number."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput, Interrupted
from components.networks.backbone import build
from components.progress import Progress
from components.recommender.pair import Pair
from components.recommender.prompts.phrasings import Prompts
from components.settings.params import Index
from components.storage.artifacts import publishing
from components.storage.manifest import write_manifest
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import train_tokenizer
from components.textid.writing.share import Share
from components.training.ids.indexing import IndexJob, index_ids
from tests.training.recording import RecordingSink

COLOURS = ["red", "blue", "green", "white", "black", "grey", "pale pink", "deep violet"]
TEXTS = [
    f"title: {brand} {kind} {colour}"
    for brand in ("acorn", "birch", "cedar", "elder")
    for kind in ("soap", "candle")
    for colour in COLOURS
]
ITEMS = [f"i{number:03d}" for number in range(len(TEXTS))]
pytestmark = pytest.mark.usefixtures("warm")
SETTINGS = Index(max_tokens=8, candidates=4, groups=2, retries=2, batch_items=5, stable=False)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> IndexJob:
    """A pair of random weights, whose table has all items but the last two; it writes anything that is allowed."""
    root = tmp_path_factory.mktemp("indexing")
    tokenizer = train_tokenizer(TEXTS * 20, vocabulary_size=400)
    model = build("scratch", size="d_model=16,layers=1,heads=2", vocabulary_size=len(tokenizer), seed=3)
    known = {item: " ".join(text.split()[1:]) for item, text in list(zip(ITEMS, TEXTS, strict=True))[:-2]}
    facts = {"max_history": 5, "train": {"max_item_tokens": 24}}
    with publishing(root / "pair") as directory:
        Pair(model, model, tokenizer, Prompts(), IdTable.from_words(tokenizer, known), facts).write(directory)
        write_manifest(directory)
    # Not sorted, and one item without text: as a catalogue may come.
    rows = {"item_id": ITEMS[::-1], "text": [*TEXTS[:0:-1], None]}
    pq.write_table(pa.table(rows), root / "items_clean.parquet")
    return IndexJob(root / "pair", root / "items_clean.parquet", root / "work", SETTINGS, device="cpu")


@pytest.fixture(scope="module")
def by_one_process(job: IndexJob) -> tuple[IdTable, dict[str, Any]]:
    return index_ids(job, Progress())


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads decide the last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_writes_the_same_table(
    job: IndexJob, by_one_process: tuple[IdTable, dict[str, Any]], ranks: int
) -> None:
    """Prevents a table that depends on the machine: batches lost or doubled, other items asked again."""
    sink = RecordingSink()
    assert index_ids(replace(job, ranks=ranks), Progress([sink])) == by_one_process
    assert len(by_one_process[1]["attempts"]) > 1  # the items left over were asked again, by all ranks together
    assert "writing IDs (1)" in {fields.get("task") for _, fields in sink.events}
    assert not job.work.exists()


@pytest.mark.slow
def test_more_ranks_than_new_items(job: IndexJob) -> None:
    """Prevents a rank without work that waits for ever: two new items are one batch."""
    stable = replace(job, settings=replace(SETTINGS, stable=True))
    table, report = index_ids(replace(stable, ranks=2), Progress())
    assert (table, report) == index_ids(stable, Progress())
    assert (report["kept"], report["written"], report["churn"]) == (len(ITEMS) - 2, 2, 0.0)


@pytest.mark.slow
def test_what_the_ranks_refuse_reaches_the_caller(job: IndexJob) -> None:
    """Prevents "a rank died" for settings that leave no free ID."""
    small = replace(SETTINGS, max_tokens=1, retries=0)
    with pytest.raises(BadInput, match=r"index\.max_tokens"):
        index_ids(replace(job, settings=small, ranks=2), Progress())


class Terminate(RecordingSink):
    """Sends SIGTERM to its own process, which is the caller's, at the first progress it hears of."""

    def emit(self, event: str, fields: Any) -> None:
        super().emit(event, fields)
        if event == "progress" and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)

    sent = False


@pytest.mark.slow
def test_a_stop_promises_no_checkpoint(job: IndexJob, tmp_path: Path) -> None:
    """Prevents "the checkpoint is saved; the same command goes on from there" of a stage that begins anew.

    It cannot flake: 640 batches of each rank are left when the first progress is heard.
    """
    many = 100
    rows = {"item_id": [f"{item}-{n}" for n in range(many) for item in ITEMS], "text": TEXTS * many}
    pq.write_table(pa.table(rows), tmp_path / "items_clean.parquet")
    long = replace(job, items_clean=tmp_path / "items_clean.parquet", work=tmp_path / "work", ranks=2)
    with pytest.raises(Interrupted) as stopped:
        index_ids(long, Progress([Terminate()]))
    assert stopped.value.what == "stopped by SIGTERM" and "checkpoint" not in str(stopped.value)


def test_shares_are_the_whole_work() -> None:
    """Prevents batches that nobody takes, or two."""
    work = list(range(11))
    for ranks in (1, 2, 3, 20):
        assert sorted(piece for rank in range(ranks) for piece in Share(rank, ranks).of(work)) == work


def test_all_ranks_make_as_many_turns() -> None:
    """Prevents a rank with one batch less that does not come to the last boundary, where the others wait."""
    met: list[int] = []
    shares = [Share(rank, 3, boundary=lambda rank=rank: met.append(rank)) for rank in range(3)]  # type: ignore[misc]
    pieces = [list(share.turns(range(7))) for share in shares]
    assert pieces == [[0, 3, 6], [1, 4, None], [2, 5, None]]
    assert met == [0] * 3 + [1] * 3 + [2] * 3


def test_a_broken_job_is_refused(job: IndexJob, tmp_path: Path) -> None:
    """Prevents a rank that works on something else than the stage meant."""
    job.save(tmp_path / "job.json")
    assert IndexJob.load(tmp_path / "job.json") == job
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(BadInput, match="not a valid IndexJob"):
        IndexJob.load(tmp_path / "job.json")
