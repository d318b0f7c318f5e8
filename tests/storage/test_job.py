"""Dataclasses as JSON files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.storage.job import SavedAsJson


@dataclass(frozen=True)
class Inner:
    number: int = 3
    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    name: str
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name is empty")


@dataclass(frozen=True)
class Work(SavedAsJson):
    source: Path
    section: Section
    given: Path | None = None
    note: str = "a/b"


WORK = Work(Path("/data/items.parquet"), Section("s", Inner(5, ["/no/path"])))


@pytest.mark.parametrize("work", [WORK, replace(WORK, given=Path("ids.tsv"), section=Section("s"))])
def test_what_is_saved_is_loaded(work: Work, tmp_path: Path) -> None:
    """Prevents texts that become paths, paths that stay texts, and settings that stay dictionaries."""
    work.save(tmp_path / "work.json")
    loaded = Work.load(tmp_path / "work.json")
    assert loaded == work
    assert isinstance(loaded.source, Path) and isinstance(loaded.note, str)


def test_defaults_may_be_left_out(tmp_path: Path) -> None:
    """Prevents a hand-written file that has to name every setting."""
    path = tmp_path / "work.json"
    path.write_text(json.dumps({"source": "x", "section": {"name": "s"}}))
    assert Work.load(path) == Work(Path("x"), Section("s"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"source": "x"}, "section"),
        ({"source": "x", "section": {"name": "s"}, "sauce": 1}, "sauce"),
        ({"source": "x", "section": {"name": "s", "inner": {"nummer": 1}}}, "nummer"),
        ({"source": "x", "section": {"name": ""}}, "name is empty"),
        ([], "not a valid Work"),
    ],
)
def test_what_is_no_job_is_refused(value: Any, said: str, tmp_path: Path) -> None:
    """Prevents a misspelt setting that is ignored, and a traceback for it."""
    path = tmp_path / "work.json"
    path.write_text(json.dumps(value))
    with pytest.raises(BadInput, match=said) as refused:
        Work.load(path)
    assert refused.value.where == str(path)
