"""What is kept in MLflow of each version, so that two can be compared when their workspaces are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.errors import BadInput
from components.evaluation.comparison.sides import read
from components.registry.comparable import comparable, log_page
from components.registry.register import register
from components.registry.store import connect
from tests.registry.workspace import build


@pytest.fixture
def registered(workspace: Path) -> Path:
    """Two versions of one training: the second was evaluated with other results. Their artifacts are gone."""
    for weights, first in ((b"one", True), (b"two", False)):
        layout, params = build(workspace, weights=weights)
        if not first:
            verdict = layout.verdict.read_text().replace('"passed": true', '"passed":  true')
            layout.verdict.write_text(verdict)
        register(params, layout)
    shutil.rmtree(layout.root)
    return workspace


def test_each_version_has_its_own_results(registered: Path) -> None:
    """Prevents versions of one run that are compared by the results of the last one, and an alias read as a name."""
    params = build(registered)[1]
    one, two, alias = (comparable(registered, params, name) for name in ("1", "2", "champion"))
    assert (one.label, two.label, alias.label) == ("version 1", "version 2", "champion (version 1)")
    assert one.run_id == two.run_id and one.folder == alias.folder != two.folder
    assert '"passed":  true' in (two.folder / "verdict.json").read_text()
    assert '"passed":  true' not in (one.folder / "verdict.json").read_text()
    run = comparable(registered, params, one.run_id)
    assert run.folder == two.folder, "a run stands for what was registered of it last"
    side = read(two.folder, "item_graph", name="x")
    assert len(side.users) == 6 and side.words["i0"] == "words of i0"
    assert two.tags["idiom.dataset"] == "tiny"


def test_a_page_reaches_its_run(registered: Path) -> None:
    """Prevents a page that a reviewer who opens MLflow never sees."""
    params = build(registered)[1]
    source = comparable(registered, params, "2")
    path = registered / "1-2.html"
    path.write_text("<p>page</p>")
    log_page(registered, source.run_id, path)
    names = {each.path for each in connect(registered).list_artifacts(source.run_id, "comparison")}
    assert "comparison/1-2.html" in names and len(names) == 3


@pytest.mark.parametrize("name", ["7", "nobody", "f" * 32])
def test_a_name_that_means_nothing_is_refused(registered: Path, name: str) -> None:
    """Prevents MLflow's traceback for a typing error."""
    params = build(registered)[1]
    with pytest.raises(BadInput, match="is no version, alias or run"):
        comparable(registered, params, name)


def test_a_version_without_results_says_so(registered: Path) -> None:
    """Prevents a traceback from a version that was registered before results were kept."""
    params = build(registered)[1]
    client = connect(registered)
    client.set_model_version_tag(params.register.model_name, "1", "idiom.bundle_sha256", "0" * 64)
    with pytest.raises(BadInput, match="were not kept"):
        comparable(registered, params, "1")
