"""Retraining and scoring in one workspace: who waits for whom, and who does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.settings.file import from_dict, load
from components.storage.layout import Layout
from flows import drops, graph
from flows.holding import Busy, alone, reading, replaces_what_scoring_reads, replacing, retraining
from flows.repro import Outcome


def waits(context: Callable[[], AbstractContextManager[object]], end: threading.Event) -> bool:
    """Whether the context is entered only after `end` was set, by the thread that waits for it to say so."""
    entered = threading.Event()

    def enter() -> None:
        with context():
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    early = entered.wait(0.5)
    end.set()
    thread.join(10)
    assert entered.is_set()
    return not early


@pytest.mark.parametrize(
    ("first", "second", "who"),
    [(replacing, reading, "for a retraining"), (reading, replacing, "for a scoring")],
)
def test_reading_and_replacing_wait_for_each_other(tmp_path: Path, first, second, who: str) -> None:  # type: ignore[no-untyped-def]
    """Prevents: a scoring at 06:00 that fails as DVC has just removed the interactions, and a bundle that is removed
    under the workers that load it."""
    said: list[str] = []
    end = threading.Event()

    def hold() -> None:
        with first(tmp_path, said.append):
            held.set()
            end.wait(10)

    held = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert not alone(tmp_path)
    assert waits(lambda: second(tmp_path, said.append), end)
    thread.join()
    assert len(said) == 1 and who in said[0]
    assert alone(tmp_path)


def test_scorings_share_and_retrainings_do_not(tmp_path: Path) -> None:
    with (
        reading(tmp_path, pytest.fail),
        reading(tmp_path, pytest.fail),
        retraining(tmp_path),
        pytest.raises(Busy, match="another retraining"),
        retraining(tmp_path),
    ):
        pass


def test_a_scoring_does_not_wait_for_a_training(repository: Path) -> None:
    """Prevents: recommendations of yesterday for as long as a training takes. What a scoring reads is written by two
    stages, in minutes."""
    params = load(repository / "params.yaml")
    found = [stage.name for stage in graph.read(repository) if replaces_what_scoring_reads(stage, repository, params)]
    assert found == ["ingest", "register"]


def test_no_scoring_reads_the_tables_that_a_deletion_makes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a scoring that fails as `idiom forget` has just had DVC remove the interactions."""
    held: list[bool] = []

    def reproduce_all(workspace: Path, until: str) -> Outcome:
        held.append(not alone(workspace))
        return Outcome(until, "Completed", 0.0, "")

    monkeypatch.setattr(drops, "forget", lambda *_, **__: SimpleNamespace(lines=[]))
    monkeypatch.setattr(drops, "_tell_dvc", lambda *_: None)
    monkeypatch.setattr(drops, "_remove_scores", lambda *_: None)
    monkeypatch.setattr(drops, "reproduce_all", reproduce_all)
    params = from_dict({"dataset": "shop"})
    interactions = Layout(tmp_path, "shop").interactions
    interactions.parent.mkdir(parents=True)
    interactions.touch()
    assert drops.forget_ids(tmp_path, params, "user", ["u1"], by="ada", say=pytest.fail) == 0
    assert held == [True] and alone(tmp_path)
