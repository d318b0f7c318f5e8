"""Check that the ranks of all machines see one work folder."""

from __future__ import annotations

from pathlib import Path

from components.errors import BadInput
from components.training.devices.ranks import Ranks


def check_shared(work: Path, ranks: Ranks, token: int) -> None:
    """Let every rank read what the first has written into `work`.

    token: any number, taken from the first rank. Raises `BadInput` on the ranks that see another folder.
    """
    if ranks.size == 1:
        return
    token, path = ranks.agree(token), work / "meeting"
    if ranks.first:
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(str(token), encoding="utf-8")
    ranks.wait()
    seen = path.read_text(encoding="utf-8") if path.exists() else "nothing"
    if seen != str(token):
        raise BadInput(
            f"rank {ranks.rank} does not see what rank 0 wrote (found {seen}, expected {token})",
            where=str(path),
            mend="put the workspace on a file system that all nodes share, at the same path or linked there",
        )
    ranks.wait()
    if ranks.first:
        path.unlink()
