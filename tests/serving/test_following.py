"""When a version that could not be loaded is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BadInput
from components.serving import following
from components.serving.following import Following
from components.settings.file import from_dict


def test_a_broken_version_is_tried_again_ever_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prevents a bundle of hundreds of megabytes that is hashed again each second while its champion stays broken, and
    one that was mended and is never asked for again, or another version that has to wait for it."""
    now, named, tried = [0.0], [("1", "a")], list[str]()
    asking = Following(tmp_path, from_dict({"dataset": "demo"}), "champion")

    def load(version: str, digest: str) -> following.Model:
        tried.append(version)
        if digest == "broken":
            raise BadInput("its files are gone", where="there", mend="roll back")
        return following.Model(version, digest, None, 0.0, {})  # type: ignore[arg-type]

    monkeypatch.setattr(following, "behind", lambda *_: named[0])
    monkeypatch.setattr(asking, "_load", load)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    assert asking.refresh()
    named[0] = ("2", "broken")
    for second in range(120):
        now[0] = float(second)
        assert not asking.refresh() and asking.model is not None and asking.model.version == "1"
    assert tried.count("2") == 6  # at 0, 2, 6, 14, 30, 62 s
    named[0] = ("3", "c")
    assert asking.refresh() and asking.model.version == "3"
    named[0] = ("2", "mended")
    assert asking.refresh() and asking.failures == 6
