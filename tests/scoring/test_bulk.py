"""Bulk scoring: killed, damaged, repeated, shared between processes, the output is that of one undisturbed run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput, Interrupted
from components.progress import Progress
from components.recommender.engine import Engine
from components.recommender.interface import Recommendation
from components.scoring import split
from components.scoring.histories import Batches, read_histories
from components.scoring.run import output_lock, score_all
from components.scoring.score import _recommender, score_shard
from components.scoring.settings import Scoring, work_folder
from components.scoring.shards import pending, prepare, publish, shard
from components.settings.decoding import Decoding
from components.storage.manifest import verify_manifest, write_manifest
from tests.recommender.pairs import WORDS
from tests.scoring.scorings import (
    USERS,
    children,
    content,
    finished,
    histories,
    rows,
    score_here,
    start,
    wait_until,
)


def test_every_user_exactly_once_with_the_answers_of_the_engine(model: Path, undisturbed: Path) -> None:
    """Prevents users lost or doubled at the edges of shards, a neighbour's answers, and repeats in a prompt."""
    found = rows(undisturbed)
    assert [row["user_id"] for row in found] == list(histories())
    once = [list(dict.fromkeys(history)) for history in histories().values()]
    engine = Engine.load(model, device="cpu")
    for row, history in zip(found, once, strict=True):
        (expected,) = engine.recommend([history], 3, Decoding(beams=4))
        assert row["item_ids"] == [one.item_id for one in expected]
        assert row["textual_ids"] == [one.words for one in expected]
        assert row["scores"] == pytest.approx([one.score for one in expected], abs=1e-4)
        assert row["known_items"] == sum(item in WORDS for item in history)
    manifest = verify_manifest(undisturbed)
    assert manifest["users"] == USERS
    assert manifest["users_without_known_items"] == sum(not set(history) & set(WORDS) for history in once)
    assert manifest["unknown_items"] == sum("gone" in history for history in once)


def test_every_setting_of_the_manifest_is_obeyed(scoring: Scoring) -> None:
    """Prevents a setting that the manifest names and the search never got."""
    engine = Engine.load(scoring.model, device="cpu")

    def answers(settings: dict[str, Any]) -> list[list[Recommendation]]:
        return engine.recommend(list(histories().values()), settings["k"], Decoding.of(settings))

    settings = {"k": 2, "beams": 3, "scores": "vocabulary", "mask_seen": False, "length_penalty": 1.0}
    expected = answers(settings)
    for name in settings:  # each of them shows in the answers
        assert answers({**settings, name: getattr(scoring, name)}) != expected
    found = rows(score_here(replace(scoring, shard_users=USERS, **settings)))
    for row, answer in zip(found, expected, strict=True):
        assert row["item_ids"] == [one.item_id for one in answer]
        assert row["scores"] == pytest.approx([one.score for one in answer], abs=1e-4)


@pytest.mark.slow
def test_killed_and_started_again(scoring: Scoring, undisturbed: Path) -> None:
    """Prevents a night's scoring that starts over, or users twice or never, after `kill -9` in the middle.

    It cannot flake: 40 shards of 20 ms follow the second one, and the kill comes within milliseconds of it.
    """
    process = start(scoring, "--workers", "2")
    wait_until(lambda: len(finished(scoring)) >= 2, process)
    team = children(process.pid)
    process.kill()
    process.communicate()
    assert len(team) == 2
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in team))  # nobody goes on alone
    kept = finished(scoring)
    assert 2 <= len(kept) < USERS // 4 and not scoring.out.exists()

    again = start(scoring, "--workers", "1")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert f"{4 * len(kept)} of {USERS} users are scored already" in said
    assert content(scoring.out) == content(undisturbed)
    published = {number: (scoring.out / f"part-{number:06d}.parquet").stat().st_ino for number in kept}
    assert published == kept  # the very files that stood before the kill
    assert not work_folder(scoring.out).exists()


def test_a_damaged_shard_is_scored_again(scoring: Scoring, undisturbed: Path) -> None:
    """Prevents a shard with a flipped bit, or half of one, in the output."""
    folder = prepare(scoring, Progress())
    for number in pending(folder, print):
        score_shard(folder, number)
    flipped = shard(folder, 3) / "scores.parquet"
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    (shard(folder, 5) / "scores.parquet").unlink()
    (shard(folder, 7) / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="SHA-256"):
        publish(folder)
    assert not scoring.out.exists()
    notes: list[str] = []
    assert pending(folder, notes.append) == [3, 5, 7]
    assert len(notes) == 3 and "000003" in notes[0]
    assert content(score_here(scoring)) == content(undisturbed)


def test_damaged_input_shards_are_made_again(scoring: Scoring, undisturbed: Path) -> None:
    """Prevents users scored from histories that are not theirs any more."""
    folder = prepare(scoring, Progress())
    (folder / "input" / "part-000002.parquet").write_bytes(b"half")
    assert content(score_here(scoring)) == content(undisturbed)


@pytest.fixture
def scored(scoring: Scoring) -> Scoring:
    score_here(scoring)
    return scoring


def test_scored_already_is_not_scored_again(scored: Scoring) -> None:
    """Prevents an hour of work for nothing when the last step before the end was killed."""
    before = content(scored.out)
    done = score_all(scored, workers=1, progress=Progress())
    assert done.users == 0 and done.manifest["users"] == USERS
    assert content(scored.out) == before and not work_folder(scored.out).exists()


def test_stopped_keeps_what_was_there(scored: Scoring) -> None:
    """Prevents an old output that is gone before the new one is whole, and shards of two settings in one output."""
    before = content(scored.out)
    other = replace(scored, k=2)
    left = work_folder(scored.out) / "of another scoring"
    left.mkdir(parents=True)
    with pytest.raises(Interrupted):
        score_all(other, workers=1, progress=Progress(), stopped=lambda: True)
    assert content(scored.out) == before and not left.exists()
    score_here(other)
    assert max(len(row["item_ids"]) for row in rows(scored.out)) == 2


@pytest.mark.slow
def test_what_a_worker_refuses_reaches_the_caller(scoring: Scoring) -> None:
    """Prevents a parent that waits for ever, or says nothing but that a worker died."""
    with pytest.raises(BadInput, match="unknown device 'abacus'"):
        score_all(replace(scoring, device="abacus"), workers=1, progress=Progress())


def test_a_model_that_changes_meanwhile_is_refused(scoring: Scoring, tmp_path: Path) -> None:
    """Prevents an output of two models when a retraining publishes its own in the middle."""
    model = Path(shutil.copytree(scoring.model, tmp_path / "pair"))
    folder = prepare(replace(scoring, model=model), Progress())
    score_shard(folder, 0)
    _recommender.cache_clear()  # another process scores the next one
    (model / "further.txt").write_text("a new training")
    write_manifest(model)
    with pytest.raises(BadInput, match="changed since the scoring began"):
        score_shard(folder, 1)


@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
def test_histories_that_change_meanwhile_are_refused(
    scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Prevents scores whose manifest names other histories, and which are "scored already" when those come back."""
    source = Path(shutil.copy(scoring.histories, tmp_path / "histories.parquet"))
    changing = replace(scoring, histories=source)
    key = changing.key

    def change() -> None:
        pq.write_table(pa.table({"user_id": ["u1"], "history": [["B1"]]}), source)

    def read(path: Path) -> Batches:
        yield from read_histories(path)
        change()

    if when == "while it is read":
        monkeypatch.setattr(split, "read_histories", read)
    else:
        change()
    with pytest.raises(BadInput, match="histories have changed since"):
        prepare(changing, Progress())
    assert list(changing.folder.iterdir()) == []
    assert replace(changing).key != key


def test_two_scorings_of_one_output_do_not_mix(scored: Scoring) -> None:
    """Prevents two nightly runs that publish over each other."""
    with output_lock(scored.out), pytest.raises(BadInput, match="another scoring"):
        score_all(scored, workers=1, progress=Progress())


@pytest.fixture(params=["sorted", "unsorted"])
def repeated(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    yield ["u1", "u2", "u2", "u3"] if request.param == "sorted" else ["u2", "u1", "u3", "u2"]


@pytest.mark.parametrize("shard_users", [2, 3])
def test_a_user_twice_is_refused(scoring: Scoring, tmp_path: Path, repeated: list[str], shard_users: int) -> None:
    """Prevents two answers for one user, in one shard or at the edge of two: which one is sent?"""
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.table({"user_id": repeated, "history": [["B1"]] * 4}), path)
    with pytest.raises(BadInput, match=r"more than once: u2\b"):
        prepare(replace(scoring, histories=path, shard_users=shard_users), Progress())
    assert not scoring.folder.exists()


@pytest.mark.parametrize("change", [{"k": 0}, {"shard_users": 0}, {"threads": 0}, {"beams": 0}])
def test_settings_out_of_bounds_are_refused(scoring: Scoring, change: dict[str, int]) -> None:
    """Prevents an endless loop over shards of nobody."""
    with pytest.raises(BadInput, match=r"give 1 or more|decoding\.py"):
        replace(scoring, **change)


def test_a_broken_scoring_file_is_refused(scoring: Scoring, tmp_path: Path) -> None:
    """Prevents a misspelt setting that is ignored, and files of earlier versions that cannot be read any more."""
    path = tmp_path / "scoring.json"
    scoring.save(path)
    assert Scoring.load(path) == scoring
    path.write_text(json.dumps({**json.loads(path.read_text()), "drop_repeats": True}))
    assert Scoring.load(path) == scoring
    path.write_text(json.dumps({**json.loads(path.read_text()), "beam": 3}))
    with pytest.raises(BadInput, match="beam"):
        Scoring.load(path)


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_too(scoring: Scoring) -> None:
    """Prevents workers that score on, or print tracebacks, after SIGINT, which reaches them too, whether they score or
    still import. They are held until it is sent, since they would be done before it on a fast machine."""
    process = start(scoring)
    wait_until(lambda: children(process.pid), process)
    team = children(process.pid)
    for pid in team:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGINT)
    for pid in team:
        with suppress(ProcessLookupError):  # a library's short question to the system, seen as it ended
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in team))
