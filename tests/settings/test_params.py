"""params.yaml: every wrong key, type or value is refused with a message that names it."""

from __future__ import annotations

import ast
import dataclasses
import gzip
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import BadInput
from components.settings.decoding import Decoding
from components.settings.file import from_dict, load
from components.settings.params import Params, to_dict
from flows import graph


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"trian": {}}, "unknown parameter trian (did you mean train?)"),
        ({"train": {"sise": "tiny"}}, "unknown parameter train.sise (did you mean size?)"),
        ({"train": {"recommender": {"wings": 2}}}, "unknown parameter train.recommender.wings (known here: epochs"),
        (
            {"train": {"generator": {"cold_start_epochs": 8}}},
            "it is train.generator.cold_start_steps now, steps instead",
        ),
        ({"train": {"rounds": -1}}, "rounds is -1, the smallest allowed is 1"),
        ({"index": {"max_tokens": 0}}, "max_tokens is 0, the smallest allowed is 1"),
        ({"train": {"vocabulary_size": 255}}, "vocabulary_size is 255, the smallest allowed is 256"),
        ({"train": {"dropout": 1.5}}, "dropout is 1.5, the largest allowed is 0.9"),
        ({"train": {"rounds": "three"}}, "train.rounds: Input should be a valid integer"),
        ({"train": {"generator": {"lr": float("nan")}}}, "lr is not a number"),
        ({"ingest": {"format": "excel"}}, "ingest.format"),
        ({"ingest": {"path": "../elsewhere"}}, "leaves the workspace"),
        ({"ingest": {"path": "/etc"}}, "leaves the workspace"),
        ({"ingest": {"items": "../../items.csv"}}, "leaves the workspace"),
        ({"train": {"imported_ids": "../ids.tsv"}}, "leaves the workspace"),
        ({"train": {"device": "cuda:0", "ranks": 2}}, "each needs a GPU of its own"),
        ({"train": {"user_id": True, "family": "decoder-only"}}, "set user_id to false, or family to encoder-decoder"),
        ({"train": {"generator_backbone": "google-t5/t5-small"}}, "or generator_backbone to scratch"),
        ({"train": {"lora_rank": 8}}, "set lora_rank to 0, or backbone to a pretrained model"),
        ({"train": {"size": "huge"}}, "size 'huge' is not understood"),
        ({"train": {"size": "d_model=36,heads=4", "family": "decoder-only"}}, "choose other heads"),
        ({"train": {"recommender": {"valid_beams": 501}}}, "valid_beams is 501, the largest allowed is 500"),
        (
            {"evaluate": {"beams": 10}},
            "beams is 10 and ks asks for 20 items, which takes as many beams; set beams to 20",
        ),
        ({"evaluate": {"ks": [50]}}, "beams is 20 and ks asks for 50 items"),
        ({"evaluate": {"beams": 501}}, "beams is 501, the largest allowed is 500"),
        ({"evaluate": {"ks": [10, 501]}}, "at least one cut-off, of 1 to 500"),
        ({"dataset": "/abs"}, "letters, digits"),
        ({"dataset": "../up"}, "letters, digits"),
        ({"dataset": ".."}, "letters, digits"),
        ({"index": {"candidates": 8, "groups": 3}}, "does not divide"),
        ({"evaluate": {"ks": []}}, "at least one cut-off"),
        ({"evaluate": {"ks": [0]}}, "at least one cut-off"),
        ({"clean": {"min_user_interactions": 2}}, "the smallest allowed is 3"),
        ({"rank": {"voices": ["graf"]}}, "'graf' is no voice; take it out, or name one of popularity, item_graph"),
        ({"rank": {"voices": []}}, "voices is empty"),
        ({"rank": {"voices": ["graph", "graph"], "evidence": ["graph"]}}, "name each voice once"),
        ({"rank": {"voices": ["graph", "text"]}}, "evidence: 'graph_even' is no graph or text among `voices`"),
        (
            {"rank": {"voices": ["graph", "graph_twice"], "evidence": ["graph_twice"]}},
            "'graph_twice' is no graph or text among `voices`; take it out, or name one of graph",
        ),
    ],
)
def test_wrong_parameter_is_refused_by_name(raw: dict[str, Any], said: str) -> None:
    """Prevents a typo in params.yaml from silently training with a default."""
    with pytest.raises(BadInput) as caught:
        from_dict(raw, where="params.yaml")
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_several_wrong_parameters_are_all_named() -> None:
    """Prevents the mend-one-run-again loop: all problems come at once."""
    with pytest.raises(BadInput) as caught:
        from_dict({"sede": 1, "evaluate": {"beams": 0}})
    assert "sede" in str(caught.value) and "beams" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "\xff"])
def test_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    """Prevents a YAML traceback from reaching a person."""
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput):
        load(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no parameter file"):
        load(tmp_path / "params.yaml")


def test_empty_file_means_defaults(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("")
    assert load(path) == Params()


def test_every_documented_backbone_can_be_set(repository: Path) -> None:
    """Prevents settings in docs/backbones.md that are refused, or whose keys were renamed."""
    page = (repository / "docs" / "backbones.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        assert from_dict(yaml.safe_load(block)).train.backbone


def test_every_shipped_config_loads(repository: Path) -> None:
    """Prevents a preset from rotting when a key is renamed."""
    files = [repository / "params.yaml", *sorted((repository / "params").glob("*.yaml"))]
    # Grids have a form of their own: tests/flows/test_ablate.py loads them.
    for file in (file for file in files if not file.name.startswith(("ablations-", "views-"))):
        load(file)


def test_presets_have_every_section_that_the_graph_follows(repository: Path, tmp_path: Path) -> None:
    """Prevents a preset that DVC ends, in the middle of the graph, for a section that it does not find."""
    (tmp_path / "dvc.yaml").write_bytes((repository / "dvc.yaml").read_bytes())
    for file in sorted((repository / "params").glob("*.yaml")):
        if not file.name.startswith(("ablations-", "views-")):
            (tmp_path / "params.yaml").write_bytes(file.read_bytes())
            further = len(load(file).catalogues)
            assert len(graph.read(tmp_path)) == 9 + 6 * further, file.name
    (tmp_path / "params.yaml").write_text("dataset: demo\nseed: 17\ningest: {format: demo, path: data/demo}\n")
    with pytest.raises(BadInput, match="are missing: validate, clean, views") as raised:
        graph.read(tmp_path)
    assert "validate: {}" in raised.value.mend


def test_presets_say_which_order_ties_have(repository: Path) -> None:
    """Prevents figures beside a paper's that are taken under another order of ties, without a word in the preset."""
    presets = [load(file) for file in sorted((repository / "params").glob("*amazon-*.yaml"))]
    assert {preset.clean.ties for preset in presets} == {"file"}
    for file in sorted((repository / "params").glob("*beauty*.yaml")):
        assert "ties: file" in file.read_text(encoding="utf-8"), file.name


def test_presets_name_columns_that_their_data_have(repository: Path, shared_data: Path) -> None:
    """Prevents a catalogue's IDs from being written without its brands and categories, which are called attributes."""
    presets = [load(file) for file in sorted((repository / "params").glob("*amazon-*.yaml"))]
    assert {preset.dataset for preset in presets} >= {"amazon-beauty", "amazon-sports", "amazon-toys"}
    for preset in presets:
        with gzip.open(shared_data / preset.dataset / "items.jsonl.gz", "rt", encoding="utf-8") as lines:
            present = {name for line in itertools.islice(lines, 1000) for name in json.loads(line)}
        assert set(preset.clean.text_fields) <= present, preset.dataset


def test_round_trip() -> None:
    """The dict that goes into MLflow, hashes and the bundle reads back as the same settings."""
    assert from_dict(to_dict(Params())) == Params()


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Params().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["params.py", "train.py", "decoding.py", "voices.py"])
def test_every_key_is_documented(repository: Path, name: str) -> None:
    """A string stands under each field of each section: these files are the reference that errors point to. A field
    that only has another default than in a section above it has its string there."""
    tree = ast.parse((repository / "components/settings" / name).read_text())
    inherited: dict[str, set[str]] = {}
    for section in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"):
        above = set().union(*(inherited.get(ast.unparse(base), set()) for base in section.bases))
        inherited[section.name] = above | {
            ast.unparse(field.target) for field in section.body if isinstance(field, ast.AnnAssign)
        }
        for field, after in zip(section.body, [*section.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and section.name not in ("Params", "Voices"):
                documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                documented |= ast.unparse(field.target) in above
                assert documented, f"{section.name}.{ast.unparse(field.target)} has no docstring"


def test_settings_need_no_pydantic() -> None:
    """A GPU machine has torch and no pydantic or yaml: the settings must still construct there."""
    without = "import sys; sys.modules.update(pydantic=None, yaml=None);"
    code = f"{without} from components.settings.params import Params; Params()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_masking_is_left_to_the_setting_of_repeats() -> None:
    """Prevents a default that decides for itself: `Catalogue.masks` has to follow clean.drop_repeats where nothing is
    said, also of a model registered by an earlier version, whose params.json says true or false."""
    for settings in (from_dict({}), from_dict({"clean": {"drop_repeats": False}}), Params()):
        assert settings.evaluate.mask_seen is None
    assert Decoding.of(to_dict(Params().evaluate)).mask_seen is None
    for said in (True, False):
        assert from_dict({"evaluate": {"mask_seen": said}}).evaluate.mask_seen is said
        assert Decoding.of({"beams": 5, "mask_seen": said}).mask_seen is said
