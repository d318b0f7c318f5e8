"""What dvc.yaml promises: the nine stages, no path from the test targets to anything that is trained."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.catalogues import STAGES as CATALOGUE_STAGES
from components.settings.file import load
from components.settings.params import Params
from components.stages import STAGES
from components.storage.layout import Layout
from components.training.key import LEARNING_ROOMS, TEACHERS
from flows import graph
from tests.test_imports import FOUNDATIONS, imported, names_in

ORDER = ["ingest", "validate", "views", "clean", "train", "index", "rank", "evaluate", "register"]


@pytest.fixture(scope="module")
def stages(repository: Path) -> dict[str, graph.Stage]:
    return {stage.name: stage for stage in graph.read(repository)}


def test_the_nine_stages_in_order(stages: dict[str, graph.Stage]) -> None:
    """Prevents: a stage in the graph that no code runs, code that no graph runs, or an order the edges do not give."""
    assert list(stages) == ORDER
    assert list(STAGES) == ORDER
    assert [stage.cmd for stage in stages.values()] == [f"python -m components {name}" for name in ORDER]


def test_only_evaluation_and_what_follows_it_can_see_the_test_targets(
    stages: dict[str, graph.Stage], repository: Path
) -> None:
    """Prevents: the leak of the released IDGenRec. A folder with the file in it counts as the file."""
    params = load(repository / "params.yaml")
    secret = Layout(Path(), params.dataset).test_targets
    readers = {name for name, stage in stages.items() if any(secret.is_relative_to(dep) for dep in stage.deps)}
    assert readers == {"evaluate"}

    upstream_of_evaluation: set[str] = set()
    todo = list(stages["evaluate"].upstream)
    while todo:
        name = todo.pop()
        upstream_of_evaluation.add(name)
        todo += stages[name].upstream
    assert upstream_of_evaluation == {"ingest", "validate", "views", "clean", "train", "index", "rank"}
    assert not upstream_of_evaluation & readers


def test_every_artifact_that_is_read_is_written_by_another_stage(stages: dict[str, graph.Stage]) -> None:
    """Prevents: a stage that reads a leftover of an earlier version, which DVC never makes anew."""
    written = {out: name for name, stage in stages.items() for out in stage.outs}
    assert len(written) == sum(len(stage.outs) for stage in stages.values()), "two stages write the same path"
    for name, stage in stages.items():
        for dep in stage.deps:
            if dep.startswith("artifacts/"):  # a folder stands for what stages write into it
                writers = {of for out, of in written.items() if Path(out).is_relative_to(dep)}
                assert writers - {name}, f"{name} reads {dep}"


def test_every_artifact_of_the_layout_is_in_the_graph(stages: dict[str, graph.Stage], repository: Path) -> None:
    """Prevents: code and dvc.yaml that disagree about a path, so that DVC keeps an empty place for it; and a version or
    an alias as an output, which another store has otherwise, so that a clone cannot have it."""
    layout = Layout(Path(), load(repository / "params.yaml").dataset)
    paths = {name: getattr(layout, name) for name in vars(Layout) if isinstance(vars(Layout)[name], property)}
    for name in (
        "root",
        "registration",
        "registered_report",
        "registered_validation",
        "model_card",
        "adapted",
        "curve",
    ):
        del paths[name]
    written = {out for stage in stages.values() for out in stage.outs}
    assert {str(path) for path in paths.values()} == written


SHOPS = ("toys", "tools")


@pytest.fixture(scope="module")
def of_several(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, graph.Stage]:
    """The graph of a workspace with two further catalogues."""
    root = tmp_path_factory.mktemp("several")
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["catalogues"] = {name: {"ingest": {"path": f"data/raw/{name}"}} for name in SHOPS}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "dvc.yaml").write_bytes((repository / "dvc.yaml").read_bytes())
    return {stage.name: stage for stage in graph.read(root)}


def test_each_further_catalogue_has_stages_of_its_own(
    of_several: dict[str, graph.Stage], stages: dict[str, graph.Stage]
) -> None:
    """Prevents: a catalogue that no stage reads, one that is trained on before it is clean, and a graph that is another
    one for those who have one shop."""
    assert [name for name in of_several if "@" not in name] == ORDER
    assert {name for name in of_several if "@" in name} == {f"{of}@{shop}" for of in CATALOGUE_STAGES for shop in SHOPS}
    assert set(of_several["train"].upstream) == {"views", "clean", *(f"clean-of@{shop}" for shop in SHOPS)}
    assert {f"evaluate-of@{shop}" for shop in SHOPS} <= set(of_several["evaluate"].upstream)
    for name in ORDER:
        assert dataclasses.replace(of_several[name], upstream=()) == dataclasses.replace(stages[name], upstream=())
    for shop in SHOPS:
        assert of_several[f"ingest-of@{shop}"].cmd == f"python -m components ingest-of {shop}"
        assert f"data/raw/{shop}" in of_several[f"ingest-of@{shop}"].deps


def test_catalogues_are_read_side_by_side(of_several: dict[str, graph.Stage], stages: dict[str, graph.Stage]) -> None:
    """Prevents: a shop whose turn comes when all others are done, two models in one memory, a stage that is left out,
    and another order of the stages for one shop."""
    waves = [[stage.name for stage in wave] for wave in graph.waves([*of_several.values()], until="train", most=9)]
    assert waves[:2] == [[of, *(f"{of}-of@{shop}" for shop in SHOPS)] for of in ("ingest", "validate")]
    assert waves[2:5] == [["views", *(f"clean-of@{shop}" for shop in SHOPS)], ["clean"], ["train"]]
    assert [len(wave) for wave in waves[4:]] == [1] * (len(of_several) - 10)
    assert [name for wave in waves for name in wave if "@" not in name] == ORDER
    two = [len(wave) for wave in graph.waves([*of_several.values()], until="train", most=2)]
    assert max(two) == 2 and sum(two) == len(of_several)
    of_one = graph.waves([*stages.values()], until="train", most=9)
    assert [[stage.name for stage in wave] for wave in of_one] == [[name] for name in ORDER]


def test_only_its_own_evaluation_can_see_the_test_targets_of_a_catalogue(of_several: dict[str, graph.Stage]) -> None:
    """Prevents: a training, or another catalogue's stages, that could open them: they lie beside what is trained on."""
    for shop in SHOPS:
        layout = Layout(Path(), shop)
        for secret in (layout.test_targets, layout.other_order):
            readers = {name for name, stage in of_several.items() if any(secret.is_relative_to(d) for d in stage.deps)}
            assert readers == {f"evaluate-of@{shop}"}


@pytest.mark.parametrize("of", CATALOGUE_STAGES)
def test_the_stage_of_a_catalogue_reads_and_writes_what_that_of_the_first_does(
    of: str, of_several: dict[str, graph.Stage]
) -> None:
    """Prevents: an input, an output or a room that was added to one of the two: DVC would call the other unchanged."""
    first = of_several[of.removesuffix("-of")]
    here = of_several[f"{of}@toys"]
    shared = "artifacts/demo/catalogues"

    def own(paths: tuple[str, ...]) -> set[str]:
        named = {path.replace("artifacts/toys/", "artifacts/demo/", 1) for path in paths}
        return {path for path in named if not path.startswith(shared) and "/views/" not in path}

    raw = {"data/raw/toys", "data/demo"}
    more = {"index-of": {f"artifacts/demo/clean/{name}.parquet" for name in ("histories", "valid_targets")}}
    assert own(here.deps) - raw - more.get(of, set()) - {"components/catalogues.py"} == own(first.deps) - raw
    assert "components/catalogues.py" in here.deps
    assert own(here.outs) - ({"artifacts/demo/train/pair"} if of == "index-of" else set()) == own(first.outs)


def test_every_output_can_be_pulled(repository: Path) -> None:
    """Prevents a clone that pulls and runs six of seven stages again, whose reports lay in no store."""
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"].values()
    stages = [stage.get("do", stage) for stage in stages]
    outs = [out for stage in stages for out in [*stage.get("outs", []), *stage.get("metrics", [])]]
    assert outs and all(isinstance(out, str) for out in outs), "an output with options of its own"


def test_code_that_a_stage_depends_on_exists(stages: dict[str, graph.Stage], repository: Path) -> None:
    """Prevents: a room that was renamed, whose changes no longer run its stages again."""
    for stage in stages.values():
        for dep in stage.deps:
            assert not dep.startswith("components/") or (repository / dep).exists(), f"{stage.name}: {dep}"


def code_of(stage: str, repository: Path) -> set[str]:
    """Files of the rooms that a stage runs or could run: what its function and its helpers import, and so on."""
    tree = ast.parse((repository / "components/stages.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    called, names = [stage], list[str]()
    for name in called:
        inside = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        called += sorted(inside & set(functions) - set(called))
        names += names_in(functions[name], ("components",))
    files: set[Path] = set()
    while names:
        for file in set(files_of(names.pop(), repository)) - files:
            files.add(file)
            names += imported(file)
    return {str(file.relative_to(repository)) for file in files}


def files_of(name: str, repository: Path) -> Iterator[Path]:
    """The module in a room that `components.room.module.thing` names, if it names one.

    Not of the foundations: where and how files lie is no part of what is in them.
    """
    parts = name.split(".")
    if len(parts) > 1 and parts[1] in FOUNDATIONS:
        return
    if len(parts) > 2 and parts[0] == "components" and (repository / "components" / parts[1]).is_dir():
        for module in (repository.joinpath(*parts), repository.joinpath(*parts[:-1])):
            if module.with_suffix(".py").is_file():
                yield module.with_suffix(".py")


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_depends_on_all_code_that_it_runs(name: str, stages: dict[str, graph.Stage], repository: Path) -> None:
    """Prevents: code that is mended while DVC calls the stage unchanged, so that its old results stay."""
    deps = [*stages[name].deps]
    if name == "train":
        # They follow the training in MLflow, and name its figures there; no weight depends on them.
        deps += ["components/registry", "components/evaluation/contenders.py"]
        deps += [f"components/{TEACHERS}"]  # asked where `train.distil` names one alone
    code = code_of(name, repository)
    assert code
    assert [file for file in sorted(code) if not any(Path(file).is_relative_to(dep) for dep in deps)] == []


def test_training_depends_on_whole_rooms(stages: dict[str, graph.Stage]) -> None:
    """Prevents hours of training for an edit of bulk scoring, and a list of files that misses a new one."""
    code = [dep for dep in stages["train"].deps if dep.startswith("components/")]
    assert code == [f"components/{room}" for room in LEARNING_ROOMS]


def test_parameters_of_the_graph_exist(stages: dict[str, graph.Stage], repository: Path) -> None:
    """Prevents: a section that is renamed in params.py only: its changes would no longer run the stage again."""
    known = {field.name for field in dataclasses.fields(Params)}
    given = set(yaml.safe_load((repository / "params.yaml").read_text()))
    for name, stage in stages.items():
        assert set(stage.params) <= known & given, name
        assert name in stage.params and "dataset" in stage.params, f"{name} has to run again when its section changes"


def test_the_order_comes_from_the_edges(tmp_path: Path) -> None:
    """Prevents: an order that is right only because the file happens to be sorted."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    stages = {
        "last": {"cmd": "true", "deps": ["artifacts/b/inner.txt"], "outs": ["c"]},
        "first": {"cmd": "true", "deps": ["raw"], "outs": [{"artifacts/${dataset}/a": {"cache": False}}]},
        "middle": {"cmd": "true", "deps": ["artifacts/demo/a"], "outs": ["artifacts/b"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    read = graph.read(tmp_path)
    assert [(stage.name, stage.upstream) for stage in read] == [
        ("first", ()),
        ("middle", ("first",)),
        ("last", ("middle",)),
    ]
