"""The key of a training: what names its work folder, so that it meets its own checkpoints and no others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.settings.params import Params
from components.settings.train import Distillation, Neighbours
from components.storage.layout import Layout
from components.training import key as keys


def test_only_what_decides_the_weights_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a training that begins anew because somebody saves less often or edits bulk scoring, and one that goes
    on from a checkpoint of other settings, code or data."""
    code = tmp_path / "components"
    for room in (*keys.LEARNING_ROOMS, keys.TEACHERS):
        shutil.copytree(Path(keys.__file__).parents[1] / room, code / room)
    monkeypatch.setattr(keys, "__file__", str(code / "training" / "key.py"))
    params, layout = Params(), Layout(tmp_path, "demo")
    for file in (layout.items_clean, layout.histories, layout.valid_targets):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"table")
    key = keys.train_key(layout, params)
    seldom = replace(params, train=replace(params.train, checkpoint_seconds=600.0))
    assert keys.train_key(layout, seldom) == key
    anew = replace(params, index=replace(params.index, stable=False))  # the stage `index` alone asks for it
    assert keys.train_key(layout, anew) == key
    (code / "scoring").mkdir()
    (code / "scoring" / "run.py").write_text("")
    assert keys.train_key(layout, params) == key
    assert keys.train_key(layout, replace(params, train=replace(params.train, max_history=3))) != key
    heard = ({"distil": Distillation(voice="graph")}, {"neighbours": Neighbours(voice="graph")})
    heard_by = [replace(params, train=replace(params.train, **change)) for change in heard]
    before = [keys.train_key(layout, each) for each in heard_by]
    (code / keys.TEACHERS / "graph.py").write_text("")
    assert keys.train_key(layout, params) == key
    assert not {*before} & {keys.train_key(layout, each) for each in heard_by}
    (code / "recommender" / "batches.py").write_text("")
    other = keys.train_key(layout, params)
    assert other != key
    layout.histories.write_bytes(b"another")
    assert keys.train_key(layout, params) not in (key, other)


def test_a_model_in_a_folder_is_known_by_what_lies_there(tmp_path: Path) -> None:
    """Prevents the old pair, published again, for other weights under the same name."""
    params, layout = Params(), Layout(tmp_path, "demo")
    for file in (layout.items_clean, layout.histories, layout.valid_targets, tmp_path / "t5" / "model.safetensors"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"first")
    (tmp_path / "t5" / "tokenizer.json").write_bytes(b"first")
    pretrained, words = ({"backbone": "t5"}, {"word_vectors": "t5"})
    of_each = [replace(params, train=replace(params.train, **change)) for change in (pretrained, words)]
    before = [keys.train_key(layout, each) for each in of_each]
    (tmp_path / "t5" / "model.safetensors").write_bytes(b"other")
    assert not set(before) & {keys.train_key(layout, each) for each in of_each}
