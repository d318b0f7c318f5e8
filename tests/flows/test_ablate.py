"""`idiom ablate`: the grid, its shared trainings, its restart, and what it prints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from components.errors import BadInput
from components.storage.manifest import sha256
from flows.ablation.controls import said
from flows.ablation.grid import SWITCHES, read_grid
from flows.ablation.places import given, link_input
from flows.ablation.run import ablate as run
from flows.ablation.table import Result, markdown, rows
from flows.ablation.terminal import terminal
from tests.workspaces import MICRO, command, make_workspace, set_params


def write_grid(root: Path, name: str = "grid", **grid: Any) -> Path:
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A workspace of settings only."""
    (tmp_path / "params.yaml").write_text("dataset: shop\nseed: 5\n")
    return tmp_path


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"variants": {"a": {"train.recomender.lr": 1}}}, "unknown parameter train.recomender"),
        ({"variants": {"a": {"train.recommender.lr": "high"}}}, "variant 'a'"),
        ({"variants": {"a": {"train.size.x": 1}}}, "train.size.x cannot differ"),
        ({"variants": {"a": {"clean.sample_users": 5}}}, "clean.sample_users cannot differ"),
        ({"variants": {"a": {"seed": 5}}}, "seed cannot differ"),
        ({"variants": {"a": {"views.ranker": False}}}, "the base has no views"),
        (
            {"base": {"ingest": {"relations": "kg.csv"}}, "variants": {"a": {"views.words": ["x"]}}},
            "words of views are in",
        ),
        ({"variants": {"a": {"evaluate.ks": [1]}}}, "evaluate.ks"),
        ({"variants": {"a": {"train.ids": "imported"}}}, "must name a table"),
        ({"variants": []}, "variants is no mapping"),
        ({"variants": {"a": 3}}, "no mapping of parameters"),
        ({"variants": {"a": {"train": {7: 1}}}}, "no mapping of parameters"),
        ({"variants": {"a": {"train.rounds": 1, "train": {"rounds": 2}}}}, "train.rounds stands there twice"),
        ({"variants": {"a": {"train": {"sise": "micro"}}}}, "unknown parameter train.sise"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": []}, "seeds is"),
        ({"seeds": ["x"]}, "seeds is"),
        ({"base": {"train": {"sise": 1}}}, "train.sise"),
        ({"variant": {}}, "unknown keys: variant"),
        ({"base": {"dataset": "shop", "catalogues": {"toys": {}}}, "variants": {"a": {}}}, "there is toys too"),
    ],
)
def test_a_grid_that_cannot_run_is_refused_before_anything_runs(plain: Path, grid: dict[str, Any], said: str) -> None:
    """Prevents an hour of trainings before the typing error in the last variant is met."""
    with pytest.raises(BadInput, match="(?s).*" + said.replace(".", r"\.")):
        read_grid(write_grid(plain, **grid), plain).cells()


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_what_is_no_grid_is_refused(plain: Path, text: str) -> None:
    path = plain / "grid.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"grid\.yaml"):
        read_grid(path, plain)
    with pytest.raises(BadInput, match="no such grid"):
        read_grid(plain / "none.yaml", plain)


def test_variants_differ_from_the_base_in_what_they_say_and_in_nothing_else(plain: Path) -> None:
    """Prevents a variant that inherits the one before it, and a base that a variant has changed."""
    path = write_grid(plain, seeds=[1, 2], variants={"base": {}, "long": {"train.recommender.epochs": 3}, "again": {}})
    cells = read_grid(path, plain).cells()
    assert [(cell.variant, cell.seed) for cell in cells[:4]] == [("base", 1), ("long", 1), ("again", 1), ("base", 2)]
    assert cells[0].params == cells[2].params and cells[0].params.seed == 1
    assert [cell.params.train.recommender.epochs for cell in cells[:3]] == [8, 3, 8]


def test_a_variant_may_be_nested_as_params_yaml_is(plain: Path) -> None:
    """Prevents: a grid copied from params.yaml that is refused, or read as something else than its dotted form."""
    nested = {"train": {"rounds": 3, "generator": {"soft": False}}, "evaluate.beams": 40}
    dotted = {"train.rounds": 3, "train.generator.soft": False, "evaluate.beams": 40}
    grid = read_grid(write_grid(plain, variants={"nested": nested, "dotted": dotted}), plain)
    assert grid.variants["nested"] == dotted == grid.variants["dotted"]
    one, other = grid.cells()
    assert one.params == other.params and one.params.train.rounds == 3


def test_the_built_in_grid_has_every_switch(plain: Path) -> None:
    """Prevents a switch that is offered and refused, or imported IDs that are not offered although they are there."""
    grid = read_grid(None, plain)
    assert set(grid.variants) == set(SWITCHES) and grid.seeds == (5, 6, 7)
    assert len({str(cell.params) for cell in grid.cells()}) == 3 * len(SWITCHES)
    (plain / "data" / "demo").mkdir(parents=True)
    (plain / "data" / "demo" / "reference_ids.tsv.gz").touch()
    assert "imported IDs" in read_grid(None, plain).variants
    for base in ({"train": {"family": "decoder-only"}}, {"evaluate": {"scores": "vocabulary"}}):
        (plain / "params.yaml").write_text(yaml.safe_dump({"dataset": "shop", **base}))
        for grid in (read_grid(None, plain), read_grid(write_grid(plain, seeds=[1]), plain)):
            assert grid.cells() and ("user ID" in grid.variants) == ("train" not in base)


def test_every_shipped_grid_loads(repository: Path, plain: Path) -> None:
    """Prevents a grid that rots when a key is renamed."""
    shipped = sorted(
        each for start in ("ablations", "views") for each in (repository / "params").glob(f"{start}-*.yaml")
    )
    assert shipped
    for path in shipped:
        assert len(read_grid(path, plain).cells()) >= 3


def test_what_a_training_reads_lies_in_its_place(plain: Path, tmp_path: Path) -> None:
    """Prevents a grid whose every training misses the model that lies in the workspace; and, when the workspace was
    moved, one that stumbles over its own links."""
    set_params(plain, {"train": {"backbone": "data/raw/t5"}})
    (plain / "data" / "raw" / "t5").mkdir(parents=True)
    (plain / "data" / "raw" / "t5" / "config.json").write_text("{}")
    (cell,) = read_grid(write_grid(plain, variants={"base": {}}), plain).cells()
    place = tmp_path / "trained"
    (place / "data" / "raw").mkdir(parents=True)
    (place / "data" / "raw" / "t5").symlink_to(tmp_path / "moved-away")
    for name in given(cell, plain):
        link_input(place, plain, name)
    assert (place / "data" / "raw" / "t5" / "config.json").read_text() == "{}"


def test_a_grid_goes_on_from_what_the_workspace_goes_on_from(plain: Path, tmp_path: Path) -> None:
    """Prevents a grid that finds no trained pair once `idiom retrain --from champion` has written `train.start`, and
    none that reads the workspace's word vectors."""
    set_params(plain, {"train": {"start": "work/bundles/a", "word_vectors": "data/vectors"}})
    for name in ("work/bundles/a", "data/vectors"):
        (plain / name).mkdir(parents=True)
    (plain / "work" / "bundles" / "a" / "manifest.json").write_text("{}")
    (cell,) = read_grid(write_grid(plain, variants={"base": {}}), plain).cells()
    assert given(cell, plain) == ["work/bundles/a", "data/vectors"]
    for name in given(cell, plain):
        link_input(tmp_path / "trained", plain, name)
    assert (tmp_path / "trained" / "work" / "bundles" / "a" / "manifest.json").read_text() == "{}"


def judged(variant: str, seed: int, ndcg: float, **more: Any) -> Result:
    figures = {"recall_at_10": 2 * ndcg, "ndcg_at_10": ndcg}
    popular = {"recall_at_10": 0.01, "ndcg_at_10": 0.005}
    both = {"model": figures, "popularity": popular}
    metrics = {"protocol": {"headline_k": 10}, "masked": both, "unmasked": both}
    return Result(variant, seed, metrics=metrics, valid={"ndcg_at_10": ndcg}, seconds={"train": 60.0}, **more)


def test_the_table_against_figures_worked_out_by_hand() -> None:
    """Prevents a deviation of the population, differences between unequal seeds, and a failure that nobody sees."""
    results = [
        judged("base", 1, 0.10),
        judged("base", 2, 0.14),
        judged("no user", 1, 0.13),
        judged("no user", 2, 0.15),
        judged("other scores", 1, 0.11, shares_with="base"),
        Result("other scores", 2, failure="train: the loss is nan\n  where: there", exit_code=2),
    ]
    found = {row["variant"]: row for row in rows(results, "base")}
    assert found["base"]["ndcg masked"] == {"mean": 0.12, "deviation": 0.028284, "values": [0.10, 0.14]}
    assert found["no user"]["difference"]["mean"] == pytest.approx(0.02)
    assert found["no user"]["difference"]["deviation"] == pytest.approx(0.014142)
    assert found["other scores"]["difference"]["mean"] == pytest.approx(0.01)
    assert found["other scores"]["ndcg masked"]["deviation"] is None
    assert found["popularity"]["recall masked"]["values"] == [0.01]
    text = markdown(list(found.values()), k=10, on="test")
    lines = text.splitlines()
    assert "| 0.1200 ± 0.0283 |" in lines[2] and "2 of 2" in lines[2]
    assert "seed 2 failed: train: the loss is nan" in lines[4] and "training of base" in lines[4]
    assert "popularity (baseline)" in lines[5]
    assert len({len(line) for line in lines[:6]}) == 1


def test_a_control_that_does_not_lose_is_said(tmp_path: Path) -> None:
    """Prevents: a gain of views in a table whose shuffled row has it too, and nobody who says so; an interval of
    nothing, where somebody's target is not found."""
    draw = np.random.default_rng(1)

    def ranked(variant: str, seed: int, ranks: np.ndarray) -> Result:
        file = tmp_path / f"{variant}-{seed}.parquet"
        users = [f"u{number:03}" for number in range(len(ranks))]
        found = pl.Series(ranks.astype(np.int32)).replace(11, None)  # as `evaluate` writes who finds nothing
        pl.DataFrame({"user_id": users, "model_masked": found}).sample(
            fraction=1.0, shuffle=True, seed=seed
        ).write_parquet(file)
        return judged(variant, seed, 0.1, per_user=file)

    good, bad = draw.integers(1, 5, 200), draw.integers(3, 12, 200)
    results = [ranked("all views", 1, good), ranked("poster shuffled", 1, bad), ranked("genre rewired", 1, good[::-1])]
    results += [ranked("all views", 2, good), ranked("poster alone", 1, bad), Result("actor rewired", 1, failure="x")]
    lost, same = said(results, {"poster shuffled", "genre rewired", "actor rewired"})
    assert "'all views' is better than 'poster shuffled'" in lost and "says something" in lost
    assert "cannot be told from 'genre rewired'" in same and "no gain by what is spoilt there is real" in same
    (worse,) = said([results[1], results[0]], {"all views"})
    assert "WORSE" in worse


def test_the_table_of_a_terminal_fits_and_draws(plain: Path) -> None:
    """Prevents: 160 columns that a terminal folds into each other, and a bar that does not follow its figure."""
    results = [
        judged("base", 1, 0.10),
        judged("base", 2, 0.14),
        judged("a name of more than twenty-six letters", 1, 0.06),
    ]
    results.append(Result("broken", 2, failure="train: the loss is nan\n  where: there", exit_code=2))
    text = terminal(rows(results, "base"), k=10, on="test")
    assert max(map(len, text.splitlines())) <= 100
    bars = {line.split()[0]: line.count("█") for line in text.splitlines() if " 0." in line}
    assert bars == {"base": 10, "a": 5, "popularity": 0}
    assert "0.1200 ± 0.0283" in text and "-0.0400" in text
    assert "broken: seed 2 failed: train: the loss is nan" in text
    learned = [Result("base", 1, valid={"ndcg_at_10": 0.2}, seconds={"train": 60.0})]
    assert "valid NDCG@10" in terminal(rows(learned, "base"), k=10, on="valid")


SHARED: dict[str, Any] = {
    "seeds": [17, 18],
    "variants": {
        "base": {"train.ids": "titles"},
        "vocabulary": {"train.ids": "titles", "evaluate.scores": "vocabulary"},
    },
}


def ablate(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the grid of shared.yaml; offline, as one variant names a model that is nowhere."""
    line = (sys.executable, "-m", "flows.cli", "ablate", "shared.yaml", *more)
    return command(root, *line, timeout=1800, HF_HUB_OFFLINE="1")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, warm: None) -> tuple[Path, str]:
    """A workspace whose grid was killed in the middle of its second training and then run to its end; what it said."""
    root = make_workspace(tmp_path_factory.mktemp("ablate"))
    set_params(root, {**MICRO, "train": {**MICRO["train"], "checkpoint_seconds": 0.5}})
    write_grid(root, "shared", **SHARED)
    trained = root / "work" / "ablate" / "shared" / "trained"
    line = [sys.executable, "-m", "flows.cli", "ablate", "shared.yaml", "--jobs", "1"]
    with (root / "work-log").open("w") as log, subprocess.Popen(line, cwd=root, stdout=log, stderr=log) as process:
        wait_until(lambda: list(trained.glob("*/artifacts/demo/index/report.json")), process)
        # The first training's last checkpoint stays: two folders with one say that the second is on its way.
        wait_until(
            lambda: len({path.relative_to(trained).parts[0] for path in trained.rglob("checkpoint*")}) == 2, process
        )
        process.send_signal(signal.SIGKILL)
    (first,) = trained.glob("*/artifacts/demo/index/report.json")
    digest, age = sha256(first.parents[1] / "train" / "pair"), first.stat().st_mtime_ns
    assert not list(root.glob("work/ablate/shared/judged/*/artifacts/demo/evaluate")), "trainings come first"
    done = ablate(root, "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.stat().st_mtime_ns == age and sha256(first.parents[1] / "train" / "pair") == digest
    return root, done.stdout


@pytest.mark.server
@pytest.mark.slow
def test_a_killed_grid_goes_on_and_shares_what_it_can(ran: tuple[Path, str]) -> None:
    """Prevents: a restart that trains again what is done, one training per variant where evaluation alone differs, a
    training that can find the test targets, and artifacts among the user's own."""
    root, said = ran
    whole = (root / "work" / "ablate" / "shared" / "table-test.md").read_text()
    assert "trainings: 2, done already: 1" in said and "training goes on" in said
    for name in ("base", "vocabulary"):
        rows = [each for each in said.splitlines() if each.split()[:1] == [name]]
        assert len(rows) == 1 and " 2/2 " in rows[0] and rows[0].count("±") >= 3, said
        assert "2 of 2" in next(each for each in whole.splitlines() if each.startswith(f"| {name} "))
    folder = root / "work" / "ablate" / "shared"
    written = json.loads((folder / "table-test.json").read_text())
    base, vocabulary = written["rows"][:2]
    assert vocabulary["shares_training_with"] == "base" and base["shares_training_with"] is None
    assert base["valid ndcg"] == vocabulary["valid ndcg"] and base["train seconds"]["mean"] > 0
    assert not list((folder / "trained").rglob("test_targets.parquet"))
    assert not (root / "artifacts").exists()
    again = ablate(root)
    assert again.returncode == 0 and "done already: 2" in again.stdout and "0 of 4 eval" in again.stdout


@pytest.mark.server
@pytest.mark.slow
def test_every_cell_is_a_child_run(ran: tuple[Path, str]) -> None:
    """Prevents runs that a restart has doubled, losses without results, and artifacts in a folder that goes away."""
    from components.registry.store import connect

    root, _ = ran
    client = connect(root)
    experiment = client.get_experiment_by_name("demo-ablations")
    assert experiment is not None
    assert Path(experiment.artifact_location.removeprefix("file://")).is_relative_to(root / "mlartifacts")
    found = client.search_runs([experiment.experiment_id])
    runs = {run.info.run_name: run for run in found}
    parent = runs.pop("shared")
    assert len(found) == 5 and parent.data.tags["mlflow.note.content"].startswith("| variant")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert {run.info.status for run in [*runs.values(), parent]} == {"FINISHED"}
    assert all("test/recall_at_10" in run.data.metrics for run in runs.values())
    trained = {name for name, run in runs.items() if "recommender/loss" in run.data.metrics}
    assert trained == {"base, seed 17", "base, seed 18"}


@pytest.mark.server
@pytest.mark.slow
def test_a_search_on_validation_keeps_the_test_set_shut_and_a_failure_is_a_row(ran: tuple[Path, str]) -> None:
    """Prevents settings chosen on the test set, and a grid that stops at its first failure or hides it."""
    root, _ = ran
    folder = root / "work" / "ablate" / "shared"
    before = set((folder / "judged").iterdir())
    broken = {"train.ids": "titles", "train.backbone": "nowhere/at-all"}
    write_grid(root, "shared", seeds=[17], variants={"broken": broken, "base": {"train.ids": "titles"}})
    done = ablate(root, "--on", "valid")
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert " 0/1" in next(each for each in lines if each.startswith(" broken "))
    assert " 1/1 " in next(each for each in lines if each.startswith(" base "))
    assert any(each.startswith("broken: seed 17 failed: train:") for each in lines)
    (judged,) = set((folder / "judged").iterdir()) - before
    (data,) = (folder / "data").iterdir()
    clean, shown = (place / "artifacts" / "demo" / "clean" for place in (data, judged))
    assert sha256(shown / "test_targets.parquet") == sha256(clean / "valid_targets.parquet")
    assert sha256(shown / "test_targets.parquet") != sha256(clean / "test_targets.parquet")
    only = ablate(root, "--on", "valid", "--only", "base")
    assert only.returncode == 0 and " broken " not in only.stdout
    with pytest.raises(BadInput, match="bse"):
        run(root, root / "shared.yaml", on="test", only=["bse"], jobs=1, say=print)


def wait_until(look: Any, process: subprocess.Popen[Any], seconds: float = 1800) -> None:
    """Wait for something that a process does; the limit only ends a test that has failed."""
    until = time.monotonic() + seconds
    while not look():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
