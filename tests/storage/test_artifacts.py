"""Publishing is atomic and reading is checked."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import BadInput
from components.storage.artifacts import publish_json, publishing, publishing_together, read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256, verify_manifest, write_manifest
from tests.workspaces import disk


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """Prevents a stage that dies half-way from destroying what was published before."""
    target = tmp_path / "a.json"
    publish_json(target, {"version": 1})
    with pytest.raises(RuntimeError, match="boom"), publishing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("boom")
    assert read_json(target) == {"version": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_directory_is_replaced_as_one(tmp_path: Path) -> None:
    """Prevents a published directory from mixing old and new files."""
    target = tmp_path / "pair"
    for version, name in enumerate(["old.txt", "new.txt"]):
        with publishing(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(str(version))
    assert [path.name for path in target.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]


def test_a_full_disk_leaves_the_old_directory(tmp_path: Path) -> None:
    """Prevents a bundle that is half there, or gone, because the disk was full while the next one was written."""
    folder = tmp_path / "disk"
    with disk(folder, 64):
        with publishing(folder / "bundle") as temporary:
            temporary.mkdir()
            (temporary / "weights").write_bytes(b"old" * 1000)
        with pytest.raises(OSError, match="No space left"), publishing(folder / "bundle") as temporary:
            temporary.mkdir()
            (temporary / "manifest.json").write_text("{}")
            (temporary / "weights").write_bytes(b"new" * 100_000)
        assert (folder / "bundle" / "weights").read_bytes() == b"old" * 1000
        assert [path.name for path in folder.rglob("*")] == ["bundle", "weights"]


def test_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    """A real SIGKILL between write and rename: the reader still sees the whole old artifact."""
    target = tmp_path / "a.json"
    publish_json(target, {"version": 1})
    code = (
        "import os, signal, sys; from pathlib import Path; from components.storage.artifacts import publishing\n"
        "with publishing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert read_json(target) == {"version": 1}


def test_artifacts_published_together_change_together(tmp_path: Path) -> None:
    """Prevents: new items beside old histories, where the second of them was never written."""
    first, second = tmp_path / "a" / "items", tmp_path / "b" / "histories"
    with publishing_together(first, second) as temporaries:
        for temporary in temporaries:
            temporary.write_text("old")
    with pytest.raises(RuntimeError, match="histories"), publishing_together(first, second) as (one, _):
        one.write_text("new")
    assert [path.read_text() for path in (first, second)] == ["old", "old"]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["histories", "items"]


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nothing was written"), publishing(tmp_path / "x"):
        pass


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    """Prevents key order from changing the hash that DVC sees."""
    publish_json(tmp_path / "a.json", {"b": 1, "a": 2})
    publish_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert sha256(tmp_path / "a.json") == sha256(tmp_path / "b.json")


def make_directory(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    (root / "a.bin").write_bytes(b"abc")
    (root / "sub" / "b.bin").write_bytes(b"def")
    write_manifest(root, kind="pair")
    return root


def test_manifest_accepts_what_it_lists(tmp_path: Path) -> None:
    assert verify_manifest(make_directory(tmp_path / "d"))["kind"] == "pair"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda d: (d / "a.bin").write_bytes(b"abd"), "differs"),
        (lambda d: (d / "sub" / "b.bin").unlink(), "missing"),
        (lambda d: (d / "extra.pkl").write_bytes(b"x"), "not in the manifest"),
        (lambda d: (d / "manifest.json").unlink(), "missing"),
        (lambda d: (d / "manifest.json").write_text("{"), "not readable"),
        (lambda d: (d / "manifest.json").write_text(json.dumps([1])), "not in the manifest"),
    ],
)
def test_manifest_refuses_a_changed_directory(tmp_path: Path, harm: object, said: str) -> None:
    """Prevents a recommender from being loaded beside another table, or with a file that crept in."""
    directory = make_directory(tmp_path / "d")
    harm(directory)  # type: ignore[operator]
    with pytest.raises(BadInput, match=said):
        verify_manifest(directory)


_OF_A_STORE = ("root", "registration", "registered_report", "registered_validation", "model_card", "adapted", "curve")
"""No outputs: what depends on a store, on the moment, or on a model of another shop."""


def test_layout_matches_the_graph(repository: Path) -> None:
    """Prevents dvc.yaml and the code from naming different files."""
    layout = Layout(Path(), "${dataset}")
    graph = (repository / "dvc.yaml").read_text()
    paths = [
        value.as_posix()
        for name in dir(Layout)
        if isinstance(getattr(Layout, name), property) and name not in _OF_A_STORE
        for value in [getattr(layout, name)]
    ]
    assert len(paths) > 15
    for path in paths:
        assert path in graph, path


def test_temporary_lies_beside_its_target(tmp_path: Path) -> None:
    """os.replace is atomic only within one file system."""
    with publishing(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("x")
        assert temporary.parent == tmp_path / "deep"
        assert temporary.stat().st_dev == tmp_path.stat().st_dev
