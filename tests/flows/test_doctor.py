"""`idiom doctor` on what really breaks in a workspace, and what `--fix` mends."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from flows import dvc_cache
from flows.doctor_state import Finding, code, leftovers, locks, store
from tests.registry.workspace import empty_store


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def only(findings: object) -> Finding:
    (finding,) = findings  # type: ignore[misc]
    return finding


def test_a_junk_database_is_moved_away_and_kept(tmp_path: Path) -> None:
    """Prevents: a doctor that does not look at mlflow.db where nothing was registered, and one that deletes it."""
    database = tmp_path / "mlflow.db"
    assert only(store(tmp_path)).status == "ok"
    database.write_text("junk" * 4096)
    assert only(store(tmp_path)).status == "fail" and database.exists()
    assert only(store(tmp_path, fix=True)).what.startswith("mended: ")
    (kept,) = tmp_path.glob("mlflow.db.broken-*")
    assert kept.read_text() == "junk" * 4096 and not database.exists()
    assert only(store(tmp_path)).status == "ok"


def test_damaged_pages_are_found_and_left(tmp_path: Path) -> None:
    """Prevents: a database with a sound head that ends in a migration's traceback; and its loss by a mend."""
    database = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store(), database)
    content = bytearray(database.read_bytes())
    content[8192 : 8192 * 5] = b"x" * 8192 * 4
    database.write_bytes(content)
    for fix in (False, True):
        finding = only(store(tmp_path, fix))
        assert finding.status == "fail" and "damaged" in finding.what and "backup" in finding.mend
        assert database.read_bytes() == content


def test_a_locked_database_is_said_to_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: "damaged" for a database that somebody is writing."""
    shutil.copyfile(empty_store(), tmp_path / "mlflow.db")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **more: connect(*given, **{**more, "timeout": 0.1}))
    holder = connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    finding = only(store(tmp_path))
    holder.close()
    assert finding.status == "fail" and "locked" in finding.what and "fuser" in finding.mend


def test_the_lock_of_gits_index_is_removed_when_nobody_has_it(tmp_path: Path) -> None:
    """Prevents: `dvc exp run` that fails for ever after a git that was killed; and a lock taken from one that works."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    lock = tmp_path / ".git" / "index.lock"
    lock.touch()
    assert only(locks(tmp_path, fix=True)).what == "no run holds DVC's locks" and lock.exists(), "it is fresh"
    os.utime(lock, (0, 0))
    with lock.open():
        assert len(list(locks(tmp_path, fix=True))) == 1 and lock.exists(), "somebody has it"
    said = [finding for finding in locks(tmp_path) if str(lock) in finding.what]
    assert [finding.status for finding in said] == ["warn"] and lock.exists()
    assert "mended: " in [*locks(tmp_path, fix=True)][-1].what and not lock.exists()


def test_temporaries_of_killed_runs_are_removed(tmp_path: Path) -> None:
    """Prevents: bundles half written that fill a disk, and the removal of one that is just being written."""
    old, fresh = (tmp_path / "artifacts" / "demo" / name for name in (".bundle.0123abcd.tmp", ".pair.0123abcd.tmp"))
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * 2**20)
    (tmp_path / "artifacts" / "demo" / "kept.tmp").touch()
    assert [*leftovers(tmp_path)] == []
    os.utime(old, (0, 0))
    finding = only(leftovers(tmp_path))
    assert finding.status == "warn" and "1 temporaries of killed runs, 1 MiB" in finding.what and old.exists()
    assert only(leftovers(tmp_path, fix=True)).what.startswith("mended: ")
    assert not old.exists() and fresh.exists()


def test_the_environment_of_another_folder_is_said(tmp_path: Path, repository: Path) -> None:
    """Prevents: a copied workspace whose command line runs the code of the one that it was copied from."""
    assert only(code(repository)).status == "ok"
    (tmp_path / "components").mkdir()
    finding = only(code(tmp_path))
    assert finding.status == "warn" and str(repository) in finding.what and "make env" in finding.mend


def test_a_damaged_drop_is_found_and_mended_too(tmp_path: Path) -> None:
    """Prevents: the one versioned copy of a drop, which no stage has as an output, damaged and pushed unseen."""
    md5 = hashlib.md5(b"drop").hexdigest()
    drop, file = tmp_path / "data" / "drops" / "demo", tmp_path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    for path, content in ((drop, b"drop"), (file, b"other")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    drop.with_suffix(".dvc").write_text(f"outs:\n- md5: {md5}\n  path: demo\n")
    assert dvc_cache.damaged(tmp_path) == [file]
    assert dvc_cache.mend(tmp_path, [file]).back == (md5,) and file.read_bytes() == b"drop"
