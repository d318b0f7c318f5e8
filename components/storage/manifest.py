"""SHA-256 of files and values; write and verify the manifest of a directory.

Standard library only. The manifest holds a SHA-256 per file and is written last, inside `publishing`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.storage.artifacts import missing, read_json

MANIFEST = "manifest.json"


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
        raise missing(path) from error


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


def _files(directory: Path) -> list[Path]:
    """All files below `directory` but its manifest, sorted by relative name."""
    files = [path for path in directory.rglob("*") if path.is_file() and path != directory / MANIFEST]
    return sorted(files, key=lambda path: path.relative_to(directory).as_posix())
