"""A network read without the library answers as the library's does, and a process that reads it so stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from components.networks import lean
from components.networks.backbone import build, save_model
from components.recommender.engine import Engine
from components.recommender.pair import Pair
from components.recommender.prompts.phrasings import prompts_of
from components.settings.decoding import Decoding
from components.settings.train import Family
from components.storage.artifacts import publish_json, publishing
from components.storage.manifest import write_manifest
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import train_tokenizer

WORDS = {f"B{number}": f"word{number % 7} kettle{number % 5} n{number}" for number in range(40)}
HISTORIES = [["B1"], ["B2", "B4", "B9"], [], [f"B{number}" for number in range(39)], ["B7"] * 3]


def pair(path: Path, family: Family, **facts: Any) -> Path:
    """An untrained bundle from scratch, whose prompts are longer than the distances that T5 tells apart."""
    tokenizer = train_tokenizer(list(WORDS.values()) * 3, vocabulary_size=300)
    shape = {"size": "d_model=32,layers=2,heads=4,d_ff=48", "vocabulary_size": len(tokenizer)}
    models = [build("scratch", family=each, seed=3, **shape) for each in ("encoder-decoder", family)]  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in (parameter for name, parameter in models[1].named_parameters() if "norm" in name):
            weight.add_(torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)))
    known = {"max_history": 39, "family": family, "drop_repeats": True, "train": {"backbone": "scratch"}, **facts}
    made = Pair(*models, tokenizer, prompts_of(family), IdTable.from_words(tokenizer, WORDS), known)
    with publishing(path) as directory:
        made.write(directory)
        publish_json(directory / "params.json", {"evaluate": {"beams": 12}})
        write_manifest(directory, kind="bundle")
    return path


@pytest.mark.parametrize("scores", ["trie", "vocabulary"])
@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_it_answers_as_the_library_does(tmp_path: Path, family: Family, scores: Any) -> None:
    """Prevents: `idiom recommend` that says something else than what is served and was evaluated."""
    folder, decoding = pair(tmp_path / "pair", family), Decoding(beams=40, scores=scores, mask_seen=False)
    whole, own = (
        Engine.load(folder, device="cpu", lean=each).recommend(HISTORIES, 10, decoding) for each in (False, True)
    )
    assert [[each.item_id for each in row] for row in own] == [[each.item_id for each in row] for row in whole]
    for mine, theirs in zip(own, whole, strict=True):
        assert [each.score for each in mine] == pytest.approx([each.score for each in theirs], abs=1e-5)


def test_what_is_not_from_scratch_is_read_by_the_library(tmp_path: Path) -> None:
    """Prevents: a gated T5, a grouped Llama or a checkpoint of the hub read as if it were one of ours."""
    folder = pair(tmp_path / "pair", "encoder-decoder", user_id=False)
    assert isinstance(Engine.load(folder, lean=True)._model.module, lean._Network)
    for facts in ({"user_id": True}, {"train": {"backbone": "google-t5/t5-small"}}, {"train": None}):
        other = pair(tmp_path / str(len(list(tmp_path.iterdir()))), "encoder-decoder", **facts)
        assert not isinstance(Engine.load(other, lean=True)._model.module, lean._Network)
    config = json.loads((folder / "recommender" / "config.json").read_text())
    for change in ({"feed_forward_proj": "gated-gelu"}, {"model_type": "qwen3"}, {"tie_word_embeddings": False}):
        (folder / "recommender" / "config.json").write_text(json.dumps(config | change))
        assert lean.load_model(folder / "recommender") is None
    assert lean.load_model(tmp_path / "nothing") is None
    (folder / "recommender" / "config.json").write_text(json.dumps(config))
    (folder / "recommender" / "model.safetensors").write_bytes(b"damaged")
    assert lean.load_model(folder / "recommender") is None


def test_heads_that_share_keys_are_the_librarys(tmp_path: Path) -> None:
    model: Any = build("scratch", family="decoder-only", size="d_model=32,layers=1,heads=4,d_ff=48", vocabulary_size=60)
    model.config.num_key_value_heads = 2
    save_model(model, tmp_path)
    assert lean.load_model(tmp_path) is None


def test_a_question_imports_neither_transformers_nor_mlflow(tmp_path: Path, repository: Path) -> None:
    """Prevents: eight CPU seconds for ten recommendations, most of them imports."""
    folder = pair(tmp_path / "pair", "decoder-only")
    code = (
        "import sys; from pathlib import Path; from flows import cli; from flows.recommend import recommend;"
        "from components.settings.params import Params;"
        f"answer = recommend(Path(), Params(), ['B1', 'B2'], k=5, bundle=Path({str(folder)!r}));"
        "assert len(answer['item_ids']) == 5;"
        "heavy = {'transformers', 'mlflow', 'polars', 'scipy', 'pandas', 'prefect', 'torch._dynamo'};"
        "print(sorted(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
