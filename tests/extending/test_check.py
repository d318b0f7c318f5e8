"""A check is an entry and a measure: docs/architecture.md, "How do I add a check"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.storage.layout import Layout
from tests.extending.recipes import code, insert
from tests.workspaces import make_workspace, stage


@pytest.mark.slow
def test_a_check_is_an_entry_and_a_measure(tmp_path: Path) -> None:
    """Prevents: a check that is listed and not measured, or that stops nothing."""
    root = make_workspace(tmp_path / "house", {})
    entry, measure = "components/data/validate/checks.py", "components/data/validate/checks_catalogue.py"
    added = code("A check")
    assert set(added) == {entry, measure}
    insert(root / entry, added[entry], before="    ]\n\n\ndef _interactions()")
    insert(root / measure, added[measure], before="        **_texts(touched, settings),\n")

    assert stage(root, "ingest").returncode == 0
    done = stage(root, "validate")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "titles_differ" in done.stderr and "tells them apart" in done.stderr
    layout = Layout(root, "demo")
    assert json.loads(layout.verdict.read_text())["critical_failures"] == ["titles_differ"]
    assert any("titles_differ" in page.read_text() for page in layout.data_docs.rglob("*.html"))
