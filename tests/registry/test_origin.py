"""Changes beside the commit travel with a version byte for byte, in a real repository and a real store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.processes import git
from components.registry import origin
from components.registry.bundle import BUNDLE
from components.registry.store import connect
from components.settings.file import from_dict
from components.storage.layout import Layout
from tests.registry.workspace import empty_store

DIGEST = "ab" * 32
CHANGES = {
    "plain": (b"a\nb\n", b"a\nc\n"),
    "ends of lines of Windows": (b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\r\n"),
    "latin-1": (b"caf\xe9\nb\n", b"caf\xe9\nc\xe8\n"),
    "no text": (b"\x00\x01", b"\x00\x02"),
    "space at the end": (b"a\n", b"a  \n\n\n"),
}


@pytest.mark.parametrize("settings", [(), ("diff.noprefix", "true"), ("color.ui", "always"), ("diff.external", "echo")])
@pytest.mark.parametrize("name", list(CHANGES))
def test_changes_are_applied_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: tuple[str, ...]
) -> None:
    """Prevents: `register` ends with a traceback after hours of training, as a changed file is no UTF-8; and a version
    that nobody can reproduce, as its patch lost the ends of lines, or was written as the person's settings of git say.
    """
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(origin, "bundle_sha256", lambda bundle: DIGEST)
    workspace = tmp_path / "shop"
    workspace.mkdir()
    git.run(workspace, "init", "--quiet")
    before, after = CHANGES[name]
    (workspace / "file.txt").write_bytes(before)
    git.run(workspace, "add", "file.txt")
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    git.run(workspace, *author, "commit", "--quiet", "-m", "first")
    if settings:
        git.run(workspace, "config", *settings)
    (workspace / "file.txt").write_bytes(after)
    shutil.copyfile(empty_store(), workspace / "mlflow.db")
    client = connect(workspace)
    run = client.create_run(client.create_experiment("tiny", (workspace / "mlartifacts").as_uri())).info.run_id
    origin.keep(client, run, Layout(workspace, "tiny"), Path())
    client.create_registered_model("idiom")
    client.create_model_version("idiom", source=str(workspace), run_id=run, tags={BUNDLE: DIGEST})
    found = origin.origin_of(workspace, from_dict({"dataset": "tiny"}), "1")
    git.run(tmp_path, "clone", "--quiet", str(workspace), "again")
    git.run(tmp_path / "again", "apply", "--binary", "--whitespace=nowarn", "-", given=found.changes)
    assert (tmp_path / "again" / "file.txt").read_bytes() == after
