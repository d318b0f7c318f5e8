"""Where each artifact lives, how it is published atomically, and how a reader checks what it reads.

Standard library only. An artifact is written under a temporary name on the same file system, fsynced and renamed; a
directory gets a manifest with a SHA-256 per file, written last. A reader sees the old one or the new one, never half.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Layout:
    """Paths of one dataset's artifacts within a workspace (the folder with params.yaml and dvc.yaml)."""

    workspace: Path
    dataset: str

    @property
    def root(self) -> Path:
        return self.workspace / "artifacts" / self.dataset

    # ingest
    @property
    def items(self) -> Path:
        return self.root / "ingest" / "items.parquet"

    @property
    def interactions(self) -> Path:
        return self.root / "ingest" / "interactions.parquet"

    @property
    def ingest_report(self) -> Path:
        return self.root / "ingest" / "report.json"

    # validate
    @property
    def verdict(self) -> Path:
        return self.root / "validate" / "verdict.json"

    @property
    def data_docs(self) -> Path:
        return self.root / "validate" / "data_docs"

    # clean
    @property
    def items_clean(self) -> Path:
        return self.root / "clean" / "items_clean.parquet"

    @property
    def histories(self) -> Path:
        return self.root / "clean" / "histories.parquet"

    @property
    def valid_targets(self) -> Path:
        return self.root / "clean" / "valid_targets.parquet"

    @property
    def test_targets(self) -> Path:
        """Listed in dvc.yaml by `evaluate` alone; a test proves that nothing before it can see them."""
        return self.root / "clean" / "test_targets.parquet"

    @property
    def aliases(self) -> Path:
        """Item ids that `clean` merged away, and the id that stands for each."""
        return self.root / "clean" / "aliases.parquet"

    @property
    def clean_report(self) -> Path:
        return self.root / "clean" / "report.json"

    # train
    @property
    def pair(self) -> Path:
        """The trained pair: generator/, recommender/, tokenizer/, id_table.parquet, pair.json, training_log.jsonl."""
        return self.root / "train" / "pair"

    # index
    @property
    def id_table(self) -> Path:
        return self.root / "index" / "id_table.parquet"

    @property
    def index_report(self) -> Path:
        return self.root / "index" / "report.json"

    @property
    def index_docs(self) -> Path:
        return self.root / "index" / "data_docs"

    # evaluate
    @property
    def metrics(self) -> Path:
        return self.root / "evaluate" / "metrics.json"

    @property
    def per_user(self) -> Path:
        return self.root / "evaluate" / "per_user.parquet"

    @property
    def plots(self) -> Path:
        return self.root / "evaluate" / "plots"

    @property
    def report(self) -> Path:
        return self.root / "evaluate" / "report.html"

    # register
    @property
    def bundle(self) -> Path:
        """The model bundle: one directory = one atom (DESIGN section 3)."""
        return self.root / "register" / "bundle"

    @property
    def registration(self) -> Path:
        return self.root / "register" / "registration.json"

    def work(self, key: str) -> Path:
        """Scratch folder outside DVC's outputs, for checkpoints and progress; keyed by the hash of a stage's inputs."""
        return self.workspace / "work" / self.dataset / key


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to (file or directory); on success it replaces `path`.

    On an exception the temporary is removed and what was at `path` stays as it was.
    """
    with publishing_together(path) as (temporary,):
        yield temporary


@contextmanager
def publishing_together(*paths: Path) -> Iterator[list[Path]]:
    """`publishing` for artifacts that belong together: every one is whole on the disk before the first is replaced.

    A disk that is full at the third table of a stage must not leave two new ones beside an old one.
    """
    temporaries = [path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp" for path in paths]
    for path in paths:
        _make_folder(path.parent)
    try:
        yield temporaries
        for temporary, path in zip(temporaries, paths, strict=True):
            if not temporary.exists():
                raise RuntimeError(f"nothing was written for {path}")
            _fsync_tree(temporary)
        for temporary, path in zip(temporaries, paths, strict=True):
            if temporary.is_dir() and path.is_dir():
                _swap_directories(temporary, path)
            else:
                temporary.replace(path)
            _fsync(path.parent)
    finally:
        for temporary in temporaries:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    """Make `path` and its parents. Raises `BadInput` where a file stands in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        blocking = next(each for each in (path, *path.parents) if each.exists())
        raise BadInput(
            "a file stands where a folder is needed", where=str(blocking), mend="move it away, then run this again"
        ) from error


def publish_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, atomically: equal values give equal bytes."""
    with publishing(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON artifact. Raises `BadInput` if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise _missing(path) from error
    except ValueError as error:
        raise BadInput(f"not readable as JSON: {error}", where=str(path), mend="delete it and run dvc repro") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hex; of a directory: of its sorted relative names and file hashes.

    Raises `BadInput` if it is missing.
    """
    if path.is_dir():
        names = [f"{file.relative_to(path).as_posix()} {sha256(file)}" for file in _files(path)]
        return digest(names)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path) from error


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, hex; independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(directory: Path, **facts: Any) -> None:
    """Write `manifest.json` over all files of `directory`: call it last, inside `publishing`."""
    files = {file.relative_to(directory).as_posix(): sha256(file) for file in _files(directory)}
    (directory / MANIFEST).write_text(
        json.dumps({"files": files, **facts}, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


def verify_manifest(directory: Path) -> dict[str, Any]:
    """Check every file of `directory` against its manifest and return the manifest.

    Raises `BadInput` naming the first file that is missing, changed, or not listed.
    """
    mend = "restore it (dvc checkout) or run the stage that writes it again"
    if not directory.is_dir():
        raise BadInput("directory is missing", where=str(directory), mend=mend)
    manifest = read_json(directory / MANIFEST)
    found = {file.relative_to(directory).as_posix() for file in _files(directory)}
    listed = manifest.get("files", {}) if isinstance(manifest, dict) else {}
    for name in sorted(found | set(listed)):
        where = str(directory / name)
        if name not in found:
            raise BadInput("file of the manifest is missing", where=where, mend=mend)
        if name not in listed:
            raise BadInput("file is not in the manifest", where=where, mend=mend)
        if sha256(directory / name) != listed[name]:
            raise BadInput("content differs from the manifest's SHA-256", where=where, mend=mend)
    return manifest


def _missing(path: Path) -> BadInput:
    return BadInput("artifact is missing", where=str(path), mend="run the stage that writes it: dvc repro")


def _files(directory: Path) -> list[Path]:
    """All files below `directory` but its manifest, sorted by relative name."""
    files = [path for path in directory.rglob("*") if path.is_file() and path != directory / MANIFEST]
    return sorted(files, key=lambda path: path.relative_to(directory).as_posix())


def _swap_directories(new: Path, old: Path) -> None:
    """Exchange two directories in one step, since a rename cannot replace a directory that is not empty.

    Linux does it atomically (renameat2 with RENAME_EXCHANGE); elsewhere two renames leave a moment with no `old`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2
    if hasattr(libc, "renameat2") and libc.renameat2(at_cwd, os.fsencode(new), at_cwd, os.fsencode(old), exchange) == 0:
        return
    aside = new.with_suffix(".old")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _fsync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _fsync_tree(child)
    _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
