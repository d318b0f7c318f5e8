"""Who may import whom (docs/architecture.md), read from every module's syntax tree: imports in functions count."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Rooms that every other may use.
FOUNDATIONS = {"console", "errors", "machine", "progress", "sampling", "settings", "storage", "processes"}
# Rooms that have to run on a GPU machine that has nothing else.
LEARNING = ("networks", "textid", "recommender", "voices", "ranking", "foundation", "scoring", "training")

# Room -> the components it may import; itself is always allowed.
MAY_IMPORT = {
    "errors": set(),
    "machine": {"errors"},
    "console": set(),
    "progress": set(),
    "sampling": set(),
    "settings": {"errors"},
    "storage": {"errors"},
    # The settings of `train` say which machines torchrun has to bring together.
    "processes": {"console", "errors", "progress", "settings", "storage"},
    # Pages know no figures: whoever has some brings a template's values.
    "pages": set(),
    # Decodes pictures and sounds in bounds; knows no item.
    "media": {"errors"},
    "data": FOUNDATIONS | {"pages", "media"},
    # Texts are read by networks.
    "views": FOUNDATIONS | {"media", "networks", "textid"},
    "networks": FOUNDATIONS,
    "textid": FOUNDATIONS | {"networks"},
    "recommender": FOUNDATIONS | {"networks", "textid"},
    "voices": FOUNDATIONS | {"textid", "recommender"},
    "ranking": FOUNDATIONS | {"networks.cpu", "textid", "recommender", "voices"},
    # A pretrained model that no bundle holds is asked as it is.
    "foundation": FOUNDATIONS | {"networks.families", "textid", "recommender", "voices", "ranking", "views.texts"},
    "scoring": FOUNDATIONS | {"networks", "textid", "recommender", "voices", "ranking"},
    "training": FOUNDATIONS | {"networks", "textid", "recommender"},
    # Whatever recommends is judged through its interface.
    "evaluation": FOUNDATIONS | {"pages", "recommender.interface", "recommender.catalogue"},
    # The served model is any recommender; figures are named in MLflow as they are elsewhere.
    "registry": FOUNDATIONS
    | {"pages", "recommender", "textid", "voices", "ranking", "evaluation.contenders"}
    | {"evaluation.adaptation", "evaluation.comparison.sides", "evaluation.comparison.alone", "evaluation.gates"},
    # The server knows a bundle and an alias, and no MLflow.
    "serving": FOUNDATIONS
    | {"pages", "recommender.catalogue"}
    | {f"registry.{name}" for name in ("answers", "bundle", "champion", "limits", "requests")},
    "stages": FOUNDATIONS | {"data", "views", *LEARNING, "evaluation", "registry"},
    # Connects the rooms for shops outside the graph.
    "zero_shot": FOUNDATIONS | {"stages", "views", "data.clean.whole", *LEARNING, "evaluation.arrays"},
    "adapt": FOUNDATIONS
    | {
        "stages",
        "training.key",
        "training.packed",
        "foundation.ids",
        "foundation.foundation",
        "ranking.experts",
        "recommender",
        "ranking.training",
        "ranking.modes",
        "evaluation.arrays",
        "evaluation.model_card",
        "registry.bundle",
    },
    "curve": FOUNDATIONS
    | {
        "adapt",
        "zero_shot",
        "foundation.curve",
        "foundation.foundation",
        "foundation.judging",
        "evaluation.adaptation",
        "evaluation.arrays",
        "recommender.engine",
        "textid.table.id_table",
        "training.job",
        "training.run",
    },
    # The stages of further catalogues: those of the graph, and what the catalogues have in common.
    "catalogues": FOUNDATIONS | {"stages", "training.job", "recommender.pair", "evaluation.together"},
    "__main__": FOUNDATIONS | {"stages", "catalogues"},
    # Canonical tables, and a page.
    "monitoring": FOUNDATIONS | {"pages", "data.canonical"},
    # The wiring: stages and registry; of the rooms what `idiom init`, `recommend`, `score`, `ablate` ask, what a run
    # found, and names.
    "flows": FOUNDATIONS
    | {
        "stages",
        "catalogues",
        "zero_shot",
        "adapt",
        "curve",
        "registry",
        "scoring",
        "ranking.load",
        "recommender.pair",
        "recommender.interface",
    }
    | {
        "data.ingest.sniff",
        "data.append",
        "data.canonical",
        "monitoring",
        "data.drops",
        "data.clean.itemtext",
        "training.key",
        "evaluation.in_words",
        "evaluation.contenders",
        "evaluation.comparison",
        "evaluation.metrics",
        "evaluation.gates",
        "views.newcomers",
    },
}

# What a room is made of, from the ground up: a package or file imports what stands above its own line here, and itself.
FLOORS = {
    "storage": ["artifacts layout lock ragged", "manifest job parquet", "vectors thumbnails"],
    "serving": ["following batching catalogue_search", "gauges page", "app", "__main__"],
    "processes": ["cost environment git signals nodes watcher", "child", "torchrun"],
    "monitoring": ["stream", "drift", "history", "page"],
    "scoring": [
        "settings output histories devices",
        "split",
        "shards",
        "score",
        "workers",
        "ranks run",
        "__main__",
    ],
    "settings": ["bounds sizes", "foundation train decoding voices views operating", "ranking", "params", "file"],
    "data": ["canonical", "clean demo drops", "ingest validate", "append"],
    "media": ["files", "pictures sounds"],
    "views": [
        "colours waves reduce edges efficientnet transformer readable",
        "control encode texts thumbnails",
        "build",
        "newcomers",
    ],
    "networks": [
        "rounding device tokenizer",
        "cpu",
        "lengths hub copying scratch lean beam_cache slots word_vectors",
        "interface",
        "encoder_decoder causal",
        "t5 bart",
        "families views",
        "backbone lean",
        "smollm2",
    ],
    "textid": ["words", "table", "writing"],
    "recommender": [
        "prompts soft_prompt",
        "trie",
        "batches catalogue",
        "loss interface item_views",
        "search pair",
        "engine average",
    ],
    "voices": [
        "fading matrix lists sequence_network",
        "learned",
        "voice",
        "graph text popularity recent load sequence_training",
        "item_graph paths sequence view folds",
        "graph_text teacher neighbours",
        "item_graph_text",
    ],
    "ranking": [
        "features inference clauses",
        "network",
        "candidates evidence kinds counts facts shared",
        "past",
        "reading",
        "lists ranker",
        "training",
        "teaching hybrid fusion",
        "modes shortened views",
        "deletion experts",
        "load choosing explaining leaving",
    ],
    "foundation": [
        "tiers columns ids",
        "standard",
        "foundation catalogue encoder",
        "teaching rivals judging weights",
        "language",
        "few_shot school",
        "trial",
        "choosing curve",
    ],
    "training": [
        "job key devices crash",
        "packed checkpoints",
        "steps ids start",
        "context",
        "models phases",
        "alternation",
        "run",
        "__main__",
    ],
}

BARE = {"torch", "transformers", "tokenizers", "accelerate", "safetensors", "numpy", "scipy", "pyarrow"}
THIRD_PARTY = {
    **dict.fromkeys(LEARNING, BARE),
    # Inside functions of training/models/lora.py, for those who set train.lora_rank; the test below holds it there.
    "training": BARE | {"peft"},
    "media": {"PIL", "numpy"},
    "views": BARE,
    "data": {"polars", "great_expectations", "pandas", "numpy", "scipy", "yaml", "pyarrow", "fsspec"},
    "evaluation": {"numpy", "scipy", "polars", "pyarrow", "matplotlib"},
    "monitoring": {"numpy", "scipy", "polars"},
    "pages": {"jinja2", "markupsafe"},
    # pydantic and yaml in settings/file.py alone, which the learning rooms do not import.
    "settings": {"pydantic", "yaml"},
    "serving": {"starlette", "uvicorn", "prometheus_client"},
    # numpy in storage/ragged.py and vectors.py alone.
    "storage": {"pyarrow", "numpy"},
    "processes": set(),
    "sampling": set(),
    "errors": set(),
    "console": set(),
    "progress": set(),
}
ONLY_IN = {
    "mlflow": {"registry"},
    "great_expectations": {"data"},
    **{name: {"flows"} for name in ("prefect", "prefect_dask", "typer", "dask", "distributed")},
}


def modules() -> list[Path]:
    return sorted(path for folder in ("components", "flows") for path in (ROOT / folder).rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "flows":
        return "flows"
    return parts[1] if parts != ("components", "__init__") else "errors"


def imported(path: Path) -> Iterator[str]:
    """Full dotted name of everything a module imports, wherever it does."""
    yield from names_in(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).parent.parts)


def names_in(tree: ast.AST, package: Sequence[str]) -> Iterator[str]:
    """The same of a piece of a module that lies in `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def allowed(name: str, room: str) -> bool:
    """Whether `components.x.y` may be imported in `room`."""
    if name in ("components", "components.__version__"):
        return True  # a docstring and the version; the registry asks it where the code lies
    inner = name.removeprefix("components.")
    return any(inner == each or inner.startswith(f"{each}.") for each in MAY_IMPORT[room] | {room})


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    """Prevents: a training that needs polars on the GPU machine, a stage that knows its orchestrator, a circle."""
    room = room_of(path)
    assert room in MAY_IMPORT, f"{path} belongs to no room of docs/architecture.md"
    for name in imported(path):
        top = name.split(".")[0]
        if top == "components":
            assert allowed(name, room), f"{room} imports {name}"
        elif top == "flows":
            assert room == "flows", f"{room} imports {name}"
        elif top not in sys.stdlib_module_names:
            assert top in THIRD_PARTY.get(room, {top}), f"{room} imports {name}"
            assert room in ONLY_IN.get(top, {room}), f"{room} imports {name}"


def broken_floors(path: Path) -> list[str]:
    """Imports of a module that go up or across within its own room."""
    room = room_of(path)
    floors = {name: number for number, line in enumerate(FLOORS[room]) for name in line.split()}
    own = path.relative_to(ROOT / "components" / room).with_suffix("").parts[0]
    if own not in floors:
        return [f"FLOORS does not say where {room}/{own} stands"]
    others = {name.split(".")[2] for name in imported(path) if name.startswith(f"components.{room}.")} - {own}
    return [f"{own} imports {other}" for other in sorted(others) if floors.get(other, len(floors)) >= floors[own]]


@pytest.mark.parametrize("room", FLOORS)
def test_packages_of_a_room_stand_on_one_another(room: str) -> None:
    """Prevents: two packages that need each other, so that neither can be read, tested or moved alone."""
    files = [path for path in modules() if room_of(path) == room and path != ROOT / "components" / room / "__init__.py"]
    assert {path: found for path in files if (found := broken_floors(path))} == {}


def test_the_map_has_every_file_in_a_line() -> None:
    """Prevents: a file that docs/architecture.md says nothing of, and a line about a file that is gone."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = re.findall(r"(?ms)^### `([\w/]+/)`\n.*?^```\n(.*?)^```", page)
    lines = [(room + line.split()[0], line.split()[1:]) for room, block in rooms for line in block.splitlines()]
    mapped = [*modules(), *(ROOT / "benchmarks").rglob("*.py")]
    files = {str(path.relative_to(ROOT)) for path in mapped if path.name != "__init__.py"}
    named = [name for name, _ in lines]
    assert {"without a line": sorted(files - {*named}), "without a file": sorted({*named} - files)} == {
        "without a line": [],
        "without a file": [],
    }
    assert len(named) == len({*named}) and all(sentence for _, sentence in lines)


def test_the_cpu_kernels_have_one_door() -> None:
    """Prevents: a room that calls one kernel's file, which then cannot go when its figure does."""
    room = ROOT / "components/networks/cpu"
    private = {f"components.networks.cpu.{path.stem}" for path in room.glob("*.py") if path.stem != "__init__"}
    own = {room, ROOT / "tests/networks/cpu", ROOT / "benchmarks/kernels.py"}
    files = [
        path for folder in ("benchmarks", "components", "flows", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    others = [path for path in files if not own & {path, path.parent}]
    assert private and others
    inside = {
        path: [name for name in imported(path) if any(f"{name}.".startswith(f"{file}.") for file in private)]
        for path in others
    }
    assert {path: names for path, names in inside.items() if names} == {}


def test_an_arrow_that_goes_up_or_across_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: the test above passing because it looks at nothing."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "components" / "training" / "phases" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text("from components.training.models.lora import merge\nfrom components.training import run\n")
    assert broken_floors(path) == ["phases imports models", "phases imports run"]
    path.write_text("from components.training.phases.soft import splice\nfrom components.training.job import Job\n")
    assert broken_floors(path) == []


def test_peft_is_imported_only_where_adapters_are_asked_for() -> None:
    """Prevents: an optional library that every training needs."""
    assert [path.name for path in modules() if any(name.startswith("peft") for name in imported(path))] == ["lora.py"]
    outside = ast.parse((ROOT / "components/training/models/lora.py").read_text(encoding="utf-8")).body
    named = [node.module or "" for node in outside if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in outside if isinstance(node, ast.Import) for alias in node.names]
    assert named and not any(name.startswith("peft") for name in named)


def test_the_reader_of_imports_sees_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: this file passing because it looks at the top of a module only, or misses relative imports."""
    path = tmp_path / "components" / "textid" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "def f():\n    import polars as pl\n    from ..data import tables\n    from mlflow.pyfunc import a\n"
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(imported(path)) == ["polars", "components.data.tables", "mlflow.pyfunc.a"]
    assert room_of(path) == "textid"
    assert not allowed("components.data.tables", "textid") and allowed("components.textid.trie", "textid")
    assert not allowed("components.data.ingest.ingest", "flows")
    assert allowed("components.data.ingest.sniff.suggest", "flows")
