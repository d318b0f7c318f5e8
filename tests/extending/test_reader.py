"""A reader is a module and its name: docs/architecture.md, "How do I add a reader"."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from components.data.ingest.ingest import reader
from components.settings.params import Format
from components.storage.layout import Layout
from tests.extending.recipes import code, insert
from tests.workspaces import command, make_workspace

INIT = "from pathlib import Path\nfrom flows.initialise import initialise\ninitialise(Path(), Path('data/raw/radio'))\n"
"""What `idiom init data/raw/radio` runs; the command itself would import the checkout instead of the copy."""


def test_a_reader_is_a_module_and_its_name(tmp_path: Path) -> None:
    """Prevents: a format that `ingest` reads and `idiom init` does not know, and a step that the page forgets."""
    root = make_workspace(tmp_path / "house", {})
    [(module, source)] = code("A reader").items()
    (root / module).write_text(source)
    insert(root / "components/settings/params.py", '"plays", ', after='Format = Literal["demo", ')
    raw = root / "data/raw/radio"
    raw.mkdir(parents=True)
    plays = [(user, (user + n) % 4, 1_700_000_000 + n) for user in range(6) for n in range(3)]
    (raw / "plays.txt").write_text("".join(f"u{user}|s{song}|{time}\n" for user, song, time in plays))
    (raw / "songs.txt").write_text("".join(f"s{n}|Song number {n}|The {n}s\n" for n in range(4)))

    done = command(root, "python", "-c", INIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "format: plays" in (root / "params.yaml").read_text()
    done = command(root, "python", "-m", "components", "ingest")
    assert done.returncode == 0, done.stdout + done.stderr
    layout = Layout(root, "radio")
    assert pl.read_parquet(layout.items)["title"].to_list() == [f"Song number {n}" for n in range(4)]
    assert pl.read_parquet(layout.interactions).filter(user_id="u1")["item_id"].to_list() == ["s1", "s2", "s3"]


@pytest.mark.parametrize("name", get_args(Format))
def test_every_format_is_a_module_with_a_row_in_the_page(name: str, repository: Path) -> None:
    """Prevents: a format that params.yaml accepts and nothing reads, or that docs/data.md does not describe."""
    assert callable(reader(name).read)
    assert callable(getattr(reader(name), "recognised", None)) != (name == "table"), "only plain tables are guessed"
    assert f"\n| `{name}` |" in (repository / "docs/data.md").read_text(encoding="utf-8")
