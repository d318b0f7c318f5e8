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
from components.settings.file import load
from components.storage.layout import Layout
from components.storage.manifest import sha256
from flows.ablation import beyond
from flows.ablation.controls import partners, said
from flows.ablation.grid import SWITCHES, read_grid
from flows.ablation.pairs import pair
from flows.ablation.places import data_params, data_place, given, judged_place, link_input, training_key, training_place
from flows.ablation.run import ablate as run
from flows.ablation.run import judged_stages
from flows.ablation.table import Result, markdown, rows
from flows.ablation.terminal import terminal
from tests.workspaces import MICRO, command, make_workspace, run_here, set_params


def write_grid(root: Path, name: str = "grid", **grid: Any) -> Path:
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A workspace of settings only."""
    (tmp_path / "params.yaml").write_text("dataset: shop\nseed: 5\n")
    return tmp_path


VIEWS: dict[str, Any] = {"dataset": "shop", "ingest": {"format": "table", "path": "raw", "relations": "kg.csv"}}
WORDS: dict[str, Any] = {"views.words": ["maker"]}
VECTORS: dict[str, Any] = {"train.views": ["relations_svd"], "views.relations": "svd"}
SHUFFLED: dict[str, Any] = {"views.control": {"relations": "shuffled"}}
DOORS: dict[str, Any] = {
    "no views": {},
    "words": WORDS,
    "words shuffled": WORDS | SHUFFLED,
    "vectors": VECTORS,
    "vectors shuffled": VECTORS | SHUFFLED,
}


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"variants": {"a": {"train.recomender.lr": 1}}}, "unknown parameter train.recomender"),
        ({"variants": {"a": {"train.recommender.lr": "high"}}}, "variant 'a'"),
        ({"variants": {"a": {"train.size.x": 1}}}, "train.size.x cannot differ"),
        ({"variants": {"a": {"clean.sample_users": 5}}}, "clean.sample_users cannot differ"),
        ({"variants": {"a": {"seed": 5}}}, "seed cannot differ"),
        ({"variants": {"a": {"views.ranker": False}}}, "the base has no views"),
        ({"variants": {"a": {"views.words": ["x"]}}}, "the base has no views"),
        ({"variants": {"a": {"train.views": ["x"]}}}, "the base has no views"),
        ({"base": {"dataset": "shop", "train": {"views": ["x"]}}, "variants": {"a": {}}}, "the base has no views"),
        ({"base": VIEWS, "variants": {"a": {"train.views": ["x"], "train.start": "work/a"}}}, "start is work/a"),
        ({"base": VIEWS, "variants": {"a": {"train.views": ["x"], "train.lora_rank": 4}}}, "lora_rank"),
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


def test_a_grid_without_doors_has_one_data_stage_with_the_settings_of_its_base(repository: Path, plain: Path) -> None:
    """Prevents: a shipped grid whose data are made anew for every control, or in another place than before."""
    for path in sorted((repository / "params").glob("*-*.yaml")):
        if path.name.startswith(("ablations-", "views-")) and not path.name.startswith("views-doors-"):
            grid = read_grid(path, plain)
            assert all(data_params(cell, grid.base) == grid.base for cell in grid.cells()), path.name


def test_a_cell_with_a_door_has_data_of_its_own(plain: Path) -> None:
    """Prevents: words of views, or spoilt ones, in the texts of the variant without any; two seeds or two trainings of
    the same data that make them twice; pictures that are encoded again for every door."""
    (plain / "raw").mkdir()
    (plain / "raw" / "kg.csv").write_text("head,relation,tail\n")
    more = {
        "longer": WORDS | {"train.recommender.epochs": 3},
        "ranker": {"views.ranker": False} | SHUFFLED,
        "dense": {"train.views": ["shape"]},
    }
    grid = read_grid(write_grid(plain, base=VIEWS, seeds=[1, 2], variants=DOORS | more), plain)
    root = plain / "grid"
    places: dict[str, Path] = {}
    for cell in grid.cells():
        place = data_place(data_params(cell, grid.base), root, plain)
        assert places.setdefault(cell.variant, place) == place, "seeds share their data"
        if len(list((root / "data").iterdir())) == 1:
            (place / "work" / "shop" / "views" / "of-a-key").mkdir(parents=True, exist_ok=True)
            (place / "work" / "shop" / "views" / "of-a-key" / "part.npz").touch()
    names = sorted(DOORS)
    assert len({places[name] for name in names}) == len(names)
    assert places["longer"] == places["words"] and places["ranker"] == places["dense"] == places["no views"]
    for name, words, control in (("no views", [], {}), ("words shuffled", ["maker"], {"relations": "shuffled"})):
        params = load(places[name] / "params.yaml")
        assert (params.views.words, params.views.control, params.seed) == (words, control, grid.base.seed)
        assert (places[name] / "raw" / "kg.csv").is_file()
        assert (places[name] / "work" / "shop" / "views" / "of-a-key" / "part.npz").is_file()


def test_what_reads_pictures_lies_in_the_place_of_the_data(plain: Path) -> None:
    """Prevents: `views` without the image model of the workspace; another model that reads no picture anew; a traceback
    where there is none."""
    (plain / "raw").mkdir()
    base = VIEWS | {"views": {"pictures": "transformers", "model": "models/vit"}}
    (cell,) = read_grid(write_grid(plain, base=base, variants={"a": {}}), plain).cells()
    params = data_params(cell, cell.params)
    with pytest.raises(BadInput, match="models/vit"):
        data_place(params, plain / "grid", plain)
    touch(plain / "models" / "vit" / "config.json", "{}")
    place = data_place(params, plain / "grid", plain)
    assert (place / "models" / "vit" / "config.json").read_text() == "{}"
    touch(plain / "models" / "vit" / "config.json", "{ }")
    assert data_place(params, plain / "grid", plain) != place


def test_a_base_with_words_is_a_cell_with_a_door(plain: Path) -> None:
    """Prevents: the texts of a base that reads words, given to the variant that reads none."""
    base = VIEWS | {"views": {"words": ["maker"], "control": {"maker": "constant"}}}
    variants = {"words": {}, "none": {"views.words": [], "views.control": {}}}
    grid = read_grid(write_grid(plain, base=base, variants=variants), plain)
    words, none = (data_params(cell, grid.base) for cell in grid.cells())
    assert words == grid.base and (none.views.words, none.views.control) == ([], {})


def test_vectors_lie_where_a_training_reads_them_and_make_another_training(plain: Path) -> None:
    """Prevents: `train` without the vectors of `train.views`; shuffled ones that share the training of the real ones; a
    cell that is judged by the views of another one."""
    (plain / "raw").mkdir()
    grid = read_grid(write_grid(plain, base=VIEWS, variants=DOORS), plain)
    cells = {cell.variant: cell for cell in grid.cells()}
    keys, root = {}, plain / "grid"
    for name, cell in cells.items():
        data = data_place(data_params(cell, grid.base), root, plain)
        layout = Layout(data, "shop")
        for file in ("items", "interactions", "relations", "media", "aliases"):
            touch(getattr(layout, file))
        for file in ("items_clean", "histories", "valid_targets", "test_targets", "verdict", "view_words"):
            touch(getattr(layout, file))
        for file in ("thumbnails", "views_report"):
            touch(getattr(layout, file))
        touch(layout.views / "views.json", name)
        keys[name] = training_key(cell, plain, data)
        trained = training_place(cell, keys[name], root, plain, data, "e")
        read = Layout(trained, "shop")
        assert read.views.is_dir() == bool(cell.params.train.views) and read.items_clean.is_file()
        touch(read.id_table)
        touch(read.pair / "pair.json")
        shown = Layout(judged_place(cell, root, data, trained, grid.base.seed, "test", plain), "shop")
        assert shown.views.is_dir() == ("views" not in judged_stages(cell)) == cell.has_door
        assert not cell.has_door or (shown.views / "views.json").read_text() == name
    assert keys["vectors"] != keys["vectors shuffled"] and keys["vectors"] != keys["no views"]


def touch(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


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
        return of_users(tmp_path, variant, seed, ranks)

    good, bad = draw.integers(1, 5, 200), draw.integers(3, 12, 200)
    results = [ranked("all views", 1, good), ranked("poster shuffled", 1, bad), ranked("genre rewired", 1, good[::-1])]
    results += [ranked("all views", 2, good), ranked("poster alone", 1, bad), Result("actor rewired", 1, failure="x")]
    lost, same = said(results, dict.fromkeys(("poster shuffled", "genre rewired", "actor rewired"), "all views"))
    assert "'all views' is better than 'poster shuffled'" in lost and "says something" in lost
    assert "cannot be told from 'genre rewired'" in same and "no gain by what is spoilt there is real" in same
    (worse,) = said([results[1], results[0]], {"all views": "poster shuffled"})
    assert "WORSE" in worse
    assert said(results[1:], {"poster shuffled": "nobody judged"}) == []


def of_users(
    folder: Path, variant: str, seed: int, ranks: np.ndarray, counts: np.ndarray | None = None, start: int = 0
) -> Result:
    """A result with users named by number from `start`, in a shuffled table; a rank of 11 is none."""
    file = folder / f"{variant}-{seed}.parquet"
    users = [f"u{number:03}" for number in range(start, start + len(ranks))]
    found = pl.Series(ranks.astype(np.int32)).replace(11, None)  # as `evaluate` writes who finds nothing
    table = {"user_id": users, "target_count": np.full(len(ranks), 9) if counts is None else counts}
    pl.DataFrame({**table, "model_masked": found}).sample(fraction=1.0, shuffle=True, seed=seed).write_parquet(file)
    return judged(variant, seed, 0.1, per_user=file)


def test_a_control_is_judged_by_the_variant_that_is_equal_but_for_it(repository: Path, plain: Path) -> None:
    """Prevents: shuffled words that are compared with no views at all, so that their harm is called a gain of words; a
    shipped grid that says something else than it did."""
    more = {"other": WORDS | SHUFFLED | {"train.recommender.epochs": 3}}
    grid = read_grid(write_grid(plain, base=VIEWS, seeds=[3, 4], variants=DOORS | more), plain)
    assert partners(grid.cells()) == {"words shuffled": "words", "vectors shuffled": "vectors", "other": "no views"}
    for path in sorted((repository / "params").glob("views-*.yaml")):
        grid = read_grid(path, plain)
        found = partners(grid.cells())
        spoilt = [cell.variant for cell in grid.cells() if cell.params.views.control]
        own = path.name.startswith("views-doors-")
        first = next(iter(grid.variants))
        assert found == {name: name.removesuffix(" shuffled") if own else first for name in spoilt} and found


def test_variants_are_paired_by_user_and_who_is_missing_is_said(tmp_path: Path) -> None:
    """Prevents: users of one variant compared with others of another where `clean` dropped somebody."""
    good, bad = np.array([1, 1, 2, 1, 3] * 40), np.array([11, 4, 5, 11, 9] * 40)
    results = [of_users(tmp_path, "words", 1, good), of_users(tmp_path, "words shuffled", 1, bad[3:], start=3)]
    results += [of_users(tmp_path, "words", 2, good[:-1]), of_users(tmp_path, "words shuffled", 2, bad[:-1])]
    found = pair(results, "words", "words shuffled")
    assert found is not None and found.left_out == 4 and found.seeds == [1, 2]
    expected = np.where(bad[3:-1] == 11, 0, bad[3:-1])
    assert np.array_equal(found.of_one, [good[3:-1]] * 2) and np.array_equal(found.of_other, [expected] * 2)
    (line,) = said(results, {"words shuffled": "words"})
    assert "'words' is better than 'words shuffled'" in line and "; 4 users are not in both and are left out)" in line
    apart = [results[0], of_users(tmp_path, "words shuffled", 1, bad, start=500)]
    assert pair(apart, "words", "words shuffled") is None and said(apart, {"words shuffled": "words"}) == []


def test_what_a_variant_adds_by_training_interactions_of_the_target(tmp_path: Path) -> None:
    """Prevents: a gain for cold targets that the mean over all users hides, an interval of a handful of users, cut-offs
    that nobody asked for."""
    counts = np.repeat([0, 5, 6], [40, 20, 40])
    hit = np.where(counts == 0, 1, 11)
    results = [of_users(tmp_path, "no views", seed, np.full(100, 11), counts) for seed in (1, 2)]
    results += [of_users(tmp_path, "words", 1, hit, counts), of_users(tmp_path, "words", 2, np.full(100, 11), counts)]
    results.append(of_users(tmp_path, "warm", 1, np.full(20, 1), np.full(20, 7), start=80))
    found = beyond.rows(results, "no views", [5, 15, 50])
    assert [(row["variant"], row["slice"], row["users"]) for row in found] == [
        ("no views", "all", 100),
        ("no views", "few", 60),
        ("no views", "cold", 40),
        ("words", "all", 100),
        ("words", "few", 60),
        ("words", "cold", 40),
        ("warm", "all", 20),
    ]
    own, everybody, few, cold, warm = found[0], *found[3:]
    assert own["recall"]["mean"] == 0.0 and own["recall"]["difference"] is own["recall"]["interval"] is None
    assert beyond.rows(results[:2], "no views", [5, 15, 50]) == []
    assert (everybody["recall"]["k"], everybody["ndcg"]["k"]) == (15, 5)
    assert everybody["recall"]["mean"] == everybody["recall"]["difference"] == pytest.approx(0.2)
    low, high = few["ndcg"]["interval"]
    assert low < few["ndcg"]["difference"] == pytest.approx(1 / 3, abs=1e-6) and high > 1 / 3
    assert cold["ndcg"]["interval"] == [0.5, 0.5] and warm["recall"]["interval"] is None and warm["left_out"] == 80
    text = beyond.markdown(found, "no views")
    assert "| recall@15 | - first" in text and "| NDCG@5 " in text and "warm: 80 users are not in both" in text
    shown = beyond.terminal(found, "no views")
    assert "+0.5000 [+0.5000, +0.5000]" in shown and max(map(len, shown.splitlines())) <= 100


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


@pytest.mark.server
@pytest.mark.slow
def test_the_doors_of_the_language_model_in_a_grid(tmp_path: Path, warm: None) -> None:
    """Prevents: a door that a grid takes and that some stage of it then does not find open."""
    root = make_workspace(tmp_path / "ws")
    run_here(root, "ingest")
    items = pl.read_parquet(Layout(root, "demo").items)["item_id"]
    triples = "".join(f"{item}\tmaker\tmaker {number % 9}\n" for number, item in enumerate(items))
    (root / "data" / "demo" / "kg.tsv").write_text("head\trelation\ttail\n" + triples)
    rank = {"mode": "generate", "voices": ["text"], "evidence": ["text"], "epochs": 1, "judged_users": 1}
    views = {"ranker": False, "controls": False}
    set_params(root, {"ingest": {"relations": "kg.tsv"}, "views": views, "rank": rank, "train": {"rounds": 1}})
    variants = {name: changes for name, changes in DOORS.items() if name != "words"}
    path = write_grid(root, "doors", seeds=[17], variants=variants)
    said: list[str] = []
    assert run(root, path, on="test", jobs=1, say=said.append) == 0, said
    folder = root / "work" / "ablate" / "doors"
    texts = {
        name: pl.read_parquet(Layout(folder / "data" / name, "demo").items_clean)["text"].str.contains("maker: ").all()
        for name in (each.name for each in (folder / "data").iterdir())
    }
    assert sorted(texts.values()) == [False, False, False, True], "words are in the texts of one of four data places"
    written = json.loads((folder / "table-test.json").read_text())
    assert {row["variant"] for row in written["beyond"]} == {*variants}
    (line,) = [each for each in written["says"] if "'vectors shuffled'" in each]
    assert line.startswith("'vectors' ") and "Beyond 'no views'" in (folder / "table-test.md").read_text()
    trained = [Layout(place, "demo").pair for place in (folder / "trained").iterdir()]
    assert sum((pair / "item_views").is_dir() for pair in trained) == 2 and len(trained) == 4


def wait_until(look: Any, process: subprocess.Popen[Any], seconds: float = 1800) -> None:
    """Wait for something that a process does; the limit only ends a test that has failed."""
    until = time.monotonic() + seconds
    while not look():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
