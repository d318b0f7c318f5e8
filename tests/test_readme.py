"""The README's commands are real: each one is run by a test, and a new one without a test fails here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]

RUN_BY = {
    "make retrain": "tests/test_pipeline.py::by_flow",
    "make test": "this run",
    "make ui": "tests/flows/test_ui.py",
    "make help": "tests/test_readme.py::test_make_help",
    "idiom init": "tests/test_readme.py::test_own_data",
    "idiom retrain": "tests/test_pipeline.py::by_flow",
    "idiom repro": "tests/test_pipeline.py::test_gate_ends_both_ways_with_exit_code_3",
    "dvc repro": "tests/test_pipeline.py::by_dvc",
    "idiom recommend": "tests/test_pipeline.py::test_recommend_and_doctor",
    "idiom zero-shot": "tests/foundation/test_zero_shot.py",
    "idiom adapt": "tests/flows/test_adapt.py",
    "idiom experts": "tests/flows/test_adapt.py",
    "idiom lineage": "tests/test_pipeline.py::test_a_version_is_made_again_byte_for_byte",
    "idiom reproduce": "tests/test_pipeline.py::test_a_version_is_made_again_byte_for_byte",
    "idiom score --dask": "tests/flows/test_score.py::test_ctrl_c_on_dask_and_gone_on_with_by_torchrun",
    "idiom score --on torchrun": "tests/flows/test_score.py::test_ctrl_c_on_dask_and_gone_on_with_by_torchrun",
    "idiom score --prefect": "tests/test_pipeline.py::test_score_in_prefect_by_the_champion",
    "idiom score": "tests/test_pipeline.py::test_score_gives_every_user_recommendations",
    "idiom ablate": "tests/flows/test_ablate.py",
    "idiom compare": "tests/flows/test_compare.py",
    "idiom promote": "tests/flows/test_promote.py",
    "idiom rollback": "tests/flows/test_promote.py",
    "idiom serve": "tests/test_pipeline.py::test_serve_answers",
    "mlflow models serve": "tests/registry/test_server.py",
    "idiom ui": "tests/flows/test_ui.py",
    "idiom ingest --append": "tests/flows/test_drops.py",
    "idiom forget": "tests/flows/test_drops.py",
    "idiom add-items": "tests/flows/test_add_items.py",
    "idiom monitor": "tests/flows/test_monitor.py",
    "idiom deploy": "tests/flows/test_deployment.py",
    "idiom stack start": "tests/infra/test_stack.py",
    "idiom doctor": "tests/test_pipeline.py::test_recommend_and_doctor",
    "dvc remote add": "tests/test_pipeline.py::clone",
    "git add": "tests/test_pipeline.py::clone",
    "git commit": "tests/test_pipeline.py::clone",
    "dvc push": "tests/test_pipeline.py::clone",
    "dvc pull": "tests/test_pipeline.py::clone",
    "dvc exp run": "tests/test_pipeline.py::test_dvc_answers_about_experiments",
    "dvc exp show": "tests/test_pipeline.py::test_dvc_answers_about_experiments",
    "dvc metrics diff": "tests/test_pipeline.py::test_dvc_answers_about_experiments",
    "dvc plots diff": "tests/test_pipeline.py::test_dvc_answers_about_experiments",
}


def commands() -> list[str]:
    """Every command in a code block or code span, as far as its first argument that is not a word."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`((?:make|idiom|dvc|mlflow) [^`]+)`", README)
    parts = [part.strip() for text in [*lines, *spans] for part in text.split("&&")]
    return [re.sub(r"^\.venv/bin/", "", part) for part in parts if part]


def test_every_command_has_its_test() -> None:
    """Prevents a README that promises what nobody ran."""
    found = commands()
    assert len(found) > 8
    for command in found:
        assert any(command == known or command.startswith(f"{known} ") for known in RUN_BY), command


def test_every_named_test_exists() -> None:
    for name in RUN_BY.values():
        path, _, function = name.partition("::")
        assert path == "this run" or (REPOSITORY / path).is_file(), path
        assert not function or f"def {function}(" in (REPOSITORY / path).read_text(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Prevents dead links, links to a heading that was renamed, and pictures that were never committed."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        if "://" not in target:
            assert (page.parent / name).exists(), target
        if heading and "://" not in target:
            headings = re.findall(r"^#+ (.+)$", ((page.parent / name) if name else page).read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, target


def test_the_python_example_is_short_and_run() -> None:
    """Prevents an example that has grown, and a second one that nothing runs: the pipeline's test runs the first."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) == 3
    assert "def test_the_python_example_of_the_readme(" in (REPOSITORY / "tests/test_pipeline.py").read_text()


def test_make_help() -> None:
    done = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for target in ("env", "retrain", "test", "repro", "ui"):
        assert f"make {target}" in done.stdout


@pytest.mark.real
@pytest.mark.server
def test_own_data(shared_data: Path, tmp_path: Path, warm_server: dict[str, str]) -> None:
    """The real-data example as far as `clean`: params.yaml from `idiom init`, data linked, users sampled."""
    import polars as pl

    from components.storage.layout import Layout
    from tests.workspaces import command, make_workspace

    root = make_workspace(tmp_path / "own", {})
    done = command(root, "idiom", "init", str(shared_data / "amazon-beauty"), "--sample-users", "300")
    assert done.returncode == 0, done.stdout + done.stderr
    done = command(root, "idiom", "repro", "--stage", "clean", **warm_server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pl.read_parquet(Layout(root, "amazon-beauty").test_targets).height == 300
