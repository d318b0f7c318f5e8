"""`dvc push` at the end of a retraining against a real S3 store: one that comes back, and one that does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows import dvc_cache, push
from flows import retrain as module
from flows.doctor_state import cache
from flows.servers import answers
from infra.services import make_buckets
from tests.workspaces import REPOSITORY, command, free_port

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(autouse=True)
def against_the_server(prefect_server: Any) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api, PREFECT_HOME: prefect_server.home}):
        yield


@pytest.fixture
def store(tmp_path: Path, mini: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Addresses and keys of a store that nobody has started yet; the default remote of the workspace."""
    keys = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "idiom:test",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    (mini.root / ".dvc" / "config.local").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://dvc/mini\n"
    )
    return keys


@contextmanager
def running(keys: dict[str, str], folder: Path) -> Iterator[None]:
    """The store, with its bucket."""
    folder.mkdir(exist_ok=True)
    port = keys["AWS_ENDPOINT_URL"].rpartition(":")[2]
    given = {"IDIOM_S3_ACCESS_KEY": keys["AWS_ACCESS_KEY_ID"], "IDIOM_S3_SECRET_KEY": keys["AWS_SECRET_ACCESS_KEY"]}
    command = [sys.executable, "-m", "infra.s3", str(folder), port]
    with subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **given}, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 120
            while not (answers(f"{keys['AWS_ENDPOINT_URL']}/healthcheck") and make_buckets(keys)):
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.1)
            yield
        finally:
            process.kill()


def run(mini: Any) -> Any:
    return module.retrain(str(mini.root), push=True, return_state=True)


def test_a_store_that_is_down_fails_clearly_and_costs_nothing(
    mini: Any, store: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a night's model that is only on one disk while the run says Completed; and one that is thrown away."""
    quick = push.push_outputs.with_options(retries=1, retry_delay_seconds=[0.1])
    monkeypatch.setattr(module, "push_outputs", quick)
    state = run(mini)
    assert state.name == "NotPushed" and "did not take the data" in state.message and "dvc push" in state.message
    assert mini.out("register").read_text().startswith("register of evaluate")
    assert command(mini.root, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."

    # It comes back while the next run tries again: nothing is computed anew, and all of it arrives.
    patient = push.push_outputs.with_options(retries=20, retry_delay_seconds=[1.0])
    monkeypatch.setattr(module, "push_outputs", patient)
    ended = threading.Event()

    def later() -> None:
        time.sleep(2)
        with running(store, tmp_path / "store"):
            ended.wait(300)

    thread = threading.Thread(target=later)
    thread.start()
    try:
        state = run(mini)
        assert state.is_completed() and "7 stages, 7 of them cached" in state.message
        _a_damaged_file_is_found_and_pulled_again(mini)
    finally:
        ended.set()
        thread.join()


def cached(mini: Any, content: bytes) -> Path:
    """The file of DVC's cache with this content."""
    files = (path for path in (mini.root / ".dvc" / "cache").rglob("*") if path.is_file())
    (found,) = (path for path in files if path.read_bytes() == content)
    return found


def _a_damaged_file_is_found_and_pulled_again(mini: Any) -> None:
    """Prevents: a file in DVC's cache that is no longer what its name says, handed out as the real one."""
    real = mini.out("train").read_bytes()
    (file,) = (
        path for path in (mini.root / ".dvc" / "cache").rglob("*") if path.is_file() and path.read_bytes() == real
    )
    assert list(cache(mini.root)) == []
    file.chmod(0o644)
    file.write_bytes(real[:-1] + b"?")
    file.chmod(0o444)
    shutil.rmtree(mini.root / "artifacts")
    assert dvc_cache.damaged(mini.root) == [file]
    (found,) = cache(mini.root)
    assert found.status == "fail" and "--fix" in found.mend
    (mended,) = cache(mini.root, fix=True)
    assert mended.status == "ok" and file.read_bytes() == real and list(cache(mini.root)) == []
    assert command(mini.root, "dvc", "pull", "--quiet").returncode == 0
    assert mini.out("train").read_bytes() == real


def test_a_damaged_file_comes_back_from_the_workspace(mini: Any) -> None:
    """Prevents: data loss by the mend: without a remote the output that lies here is the other copy; without one, it is
    said."""
    from flows.repro import reproduce_all

    assert reproduce_all(mini.root).exit_code == 0
    real = mini.out("train").read_bytes()
    (file,) = (
        path for path in (mini.root / ".dvc" / "cache").rglob("*") if path.is_file() and path.read_bytes() == real
    )

    def damage() -> None:
        file.chmod(0o644)
        file.write_bytes(b"zeros")
        file.chmod(0o444)

    if mini.out("train").stat().st_ino == file.stat().st_ino:
        pytest.skip("DVC links outputs to its cache here: there is no other copy")
    damage()
    assert [each.status for each in cache(mini.root, fix=True)] == ["ok"] and file.read_bytes() == real
    damage()
    mini.out("train").unlink()
    assert [each.status for each in cache(mini.root, fix=True)] == ["fail"] and not file.exists()
    assert reproduce_all(mini.root).exit_code == 0 and mini.out("train").read_bytes() == real
