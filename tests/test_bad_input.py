"""Bad input as its user meets it: each stage run as `python -m components STAGE` in a workspace with earlier results.

Prevents, for every entry of the list: a traceback instead of what, where and how to mend; an exit code that DVC and the
flow read as a crash; and a failed stage that takes the artifacts of a better day with it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.registry.moved import ARTIFACTS, mend
from components.stages import STAGES
from components.storage import artifacts
from tests.bad_inputs import CASES, GATES, ITEMS, UNJUDGED, USERS, Edit, catalogue, history, raw, scrambled, setting
from tests.workspaces import make_workspace, run_here, stage
from tests.workspaces import stage_here as run

pytestmark = pytest.mark.slow
PARAMS: dict[str, Any] = {
    "dataset": "shop",
    "ingest": {"format": "table", "path": "data/shop"},
    "validate": {"max_cold_target_share": 1.0},
    "clean": {"min_user_interactions": 3, "min_item_interactions": 1, "boilerplate_share": 1.0},
    "train": {
        "size": "d_model=16,layers=1,heads=2,d_ff=32",
        "vocabulary_size": 256,
        "rounds": 1,
        "generator": {"cold_start_steps": 1},
        "recommender": {"epochs": 1, "valid_users": 4, "valid_beams": 2},
    },
    "index": {"candidates": 2, "groups": 1},
    "evaluate": {"ks": [2, 5], "beams": 5},
}
BEFORE_REGISTER = ("ingest", "validate", "clean", "train", "index", "rank", "evaluate")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of a small shop of its own in which every stage before `register` has run."""
    root = make_workspace(tmp_path_factory.mktemp("finished"), {})
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    raw = root / "data" / "shop"
    raw.mkdir()
    (raw / "items.csv").write_text(catalogue())
    (raw / "interactions.csv").write_text(history(USERS, ITEMS))
    run_here(root, *BEFORE_REGISTER)
    return root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of `finished` to harm."""
    for name in ("data/shop", "artifacts", ARTIFACTS):
        shutil.copytree(finished / name, tmp_path / name)
    for name in ("params.yaml", "mlflow.db"):
        shutil.copyfile(finished / name, tmp_path / name)
    (tmp_path / "components").symlink_to(finished / "components")
    mend(tmp_path / "mlflow.db")
    return tmp_path


def published(workspace: Path) -> dict[str, bytes]:
    """Every file under artifacts/ (temporaries too) with its content."""
    root = workspace / "artifacts"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def refused(workspace: Path, name: str, *parts: str, process: bool = False, code: int = 2) -> None:
    """The stage must end with `code`, say what, where and mend with all of `parts`, and change no artifact."""
    before = published(workspace)
    if process:
        done = stage(workspace, name)
        found, said = done.returncode, done.stderr
    else:
        found, said = run(workspace, name)
    assert found == code, said
    assert "Traceback" not in said
    assert f"{name}: " in said and "\n  where: " in said and "\n  mend:  " in said, said
    for part in parts:
        assert part in said, said
    assert published(workspace) == before


PROCESSES = {
    *("path that climbs out", "items are missing", "k-core leaves nothing", "no clean items"),
    *("no validation targets before rank", "no list of media"),
    *("pair with another table", "no test targets", "no metrics"),
}
"""One of each stage, run as DVC runs it. The others run in this process, where a stage takes milliseconds."""


@pytest.mark.parametrize("case", CASES)
def test_refused(workspace: Path, case: str) -> None:
    name, edit, parts = CASES[case]
    edit(workspace)
    refused(workspace, name, *parts, process=case in PROCESSES, code=3 if case in GATES else 2)


def test_every_stage_is_refused_in_a_process_of_its_own() -> None:
    """Prevents: a stage that only this process, with all its imports done, can end decently."""
    assert {CASES[case][0] for case in PROCESSES} == set(STAGES)


@pytest.mark.parametrize("case", UNJUDGED)
def test_a_shop_that_cannot_be_judged(workspace: Path, case: str) -> None:
    items, interactions, parts = UNJUDGED[case]
    (workspace / "data/shop/items.csv").write_text(items)
    (workspace / "data/shop/interactions.csv").write_text(interactions)
    assert run(workspace, "ingest")[0] == 0
    refused(workspace, "validate", *parts)


def test_a_catalogue_with_text_that_no_setting_reads(workspace: Path) -> None:
    """Prevents item texts of nothing: there is text, so that validate passes, but in no column of clean.text_fields."""
    (workspace / "data/shop/items.csv").write_text(catalogue().replace(",title", ",slogan"))
    assert [run(workspace, name)[0] for name in ("ingest", "validate")] == [0, 0]
    refused(workspace, "clean", "text", "clean.text_fields")


def test_a_link_to_data_elsewhere_is_read(workspace: Path) -> None:
    """`idiom init` links data into the workspace: a person's own link is no path that climbs out, unlike `../`."""
    (workspace / "data/shop").rename(workspace / "elsewhere")
    (workspace / "data/shop").symlink_to(workspace / "elsewhere")
    before = published(workspace)
    assert run(workspace, "ingest")[0] == 0
    assert published(workspace) == before


def test_a_refused_training_is_over_in_mlflow(workspace: Path) -> None:
    """Prevents a run that says RUNNING for ever: the one whose tables could not even be logged."""
    scrambled("clean/histories.parquet")(workspace)
    refused(workspace, "train", "histories.parquet")
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as store:
        statuses = [status for (status,) in store.execute("SELECT status FROM runs ORDER BY start_time")]
    assert statuses == ["FINISHED", "FAILED"]


FULL_AT: dict[str, tuple[Edit, str]] = {
    "ingest": (raw("items.csv", catalogue(lambda item: f"{item} of another shop")), "report.json"),
    "validate": (setting(validate={"max_tie_share": 0.4}), "verdict.json"),
    "clean": (setting(clean={"text_template": "{value}"}), "report.json"),
    "index": (setting(index={"stable": False, "max_tokens": 6}), "id_table.parquet"),
    "evaluate": (setting(evaluate={"mask_seen": False, "ks": [1, 3]}), "metrics.json"),
}
"""A change after which outputs differ, and the output at which the disk is full: the last that is written."""


@pytest.mark.parametrize("name", FULL_AT)
def test_a_full_disk_leaves_all_artifacts_of_a_stage_as_they_were(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Prevents new items beside old histories, and a traceback for what is no bug."""
    edit, last = FULL_AT[name]
    edit(workspace)
    to_disk = artifacts._fsync_tree

    def full(path: Path) -> None:
        if last in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        to_disk(path)

    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "_fsync_tree", full)
        refused(workspace, name, "No space left on device", last, "make room", "published before still stands")
        # DVC removes what a stage published before it runs the stage.
        patched.setenv("DVC_STAGE", name)
        assert "stands" not in (said := run(workspace, name)[1]) and "checkout" not in said
        (workspace / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  {name}:\n    cmd: python\n")
        refused(workspace, name, f"`dvc checkout {name}` brings them back")
    before = published(workspace)
    assert run(workspace, name)[0] == 0
    changed = {path for path, content in published(workspace).items() if content != before.get(path)}
    assert {path for path in changed if not path.endswith(last)}, "an earlier output must change, or nothing is proven"


@pytest.mark.parametrize("name", STAGES)
def test_a_file_in_place_of_the_artifacts(workspace: Path, name: str) -> None:
    """Prevents a raw NotADirectoryError or FileExistsError, whichever call meets the file first."""
    shutil.rmtree(workspace / "artifacts")
    (workspace / "artifacts").write_text("not a folder")
    code, said = run(workspace, name)
    assert code == 2 and "artifacts" in said and "\n  mend:  " in said, said
    assert (workspace / "artifacts").read_text() == "not a folder"


@pytest.mark.parametrize("name", BEFORE_REGISTER)
def test_writes_that_the_system_refuses(workspace: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a raw Polars, pyarrow, SQLite or GX error: what each raises for a full disk is its own choice."""
    # A handler that Prefect left on the root logger writes into pytest's file of captured output, which is limited too.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        refused(workspace, name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_interrupted_stage_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a traceback for Ctrl-C, and an exit code that the flow reads as a crash."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(STAGES, "clean", interrupted)
    refused(workspace, "clean", "interrupted", "the same command", code=130)


def test_a_bug_keeps_its_traceback(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents the handler of full disks from hiding mistakes of ours behind a friendly sentence."""

    def wrong(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "nothing")

    monkeypatch.setitem(STAGES, "clean", wrong)
    with pytest.raises(FileNotFoundError):
        run(workspace, "clean")
