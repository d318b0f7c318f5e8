"""Git in a workspace: its commit, whether files were changed since, and commands that have to succeed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

from components.errors import BadInput

ABSENT = "absent"
_SHORT = 12
_DIFF = ("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
"""A patch that `git apply` reads, whatever the settings of the person say."""


def commit(workspace: Path) -> str:
    """The commit; "absent" outside a repository with one, or where git is not installed."""
    return ask(workspace, "rev-parse", "HEAD") or ABSENT


def changed(workspace: Path) -> Literal["true", "false", "unknown"]:
    """Whether tracked files differ from the commit. dvc.lock changes with every run, and does not count."""
    found = ask(workspace, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return "unknown" if found is None else "true" if found else "false"


def short(workspace: Path) -> str:
    """The commit in twelve digits, with `+` where files were changed since."""
    return commit(workspace)[:_SHORT] + ("+" if changed(workspace) == "true" else "")


def patch(workspace: Path, *without: str) -> str:
    """What tracked files of the folder have that the commit has not, for `git apply`; "" where there is nothing.

    without: names of files that are left out. Files that git does not know are in no patch. Bytes that are no UTF-8
    are as `text_of` has them, and ends of lines as in the files.
    """
    left_out = [f":!{name}" for name in without]
    return ask(workspace, *_DIFF, "--relative", "HEAD", "--", ".", *left_out, whole=True) or ""


def text_of(given: bytes) -> str:
    """Bytes as text that `bytes_of` turns into the same bytes again, of whatever encoding they are."""
    return given.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """What `text_of` was given."""
    return text.encode("utf-8", "surrogateescape")


def ask(workspace: Path, *words: str, whole: bool = False) -> str | None:
    """Git's answer, None where it has none or is not installed; `whole`: with the space at its ends, for a patch."""
    try:
        done = subprocess.run(["git", *words], cwd=workspace, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    said = text_of(done.stdout)
    return (said if whole else said.strip()) if done.returncode == 0 else None


def run(folder: Path, *words: str, given: str | None = None) -> str:
    """What a command prints; `given` is its input. Raises `BadInput` with git's last words where it fails."""
    sent = None if given is None else bytes_of(given)
    done = subprocess.run(["git", *words], cwd=folder, input=sent, capture_output=True)
    if done.returncode:
        said = (text_of(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BadInput(f"git {words[0]}: {said}", where=str(folder), mend="see what git says there")
    return text_of(done.stdout)
