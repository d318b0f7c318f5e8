"""Item ids that `clean` merged away, as production goes on sending them: each is the item that stands for it.

Every way to ask is held to the slow reading of a history: look each id up, then keep the first of each item.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.recommender.engine import Engine
from components.scoring.settings import Scoring
from components.settings.decoding import Decoding
from components.storage.manifest import write_manifest
from tests.recommender.pairs import WORDS, save_pair
from tests.scoring.scorings import rows, score_here

TWINS = {"A9": "B1", "C1": "B1", "C5": "B5", "C7": "B7, which is in no table"}
K, DECODING = 3, Decoding(beams=4)


def raw_histories() -> list[list[str]]:
    """Histories under all ids there are, with repeats under one id and under several, and ids nobody knows."""
    draw = random.Random(3)
    some = [draw.choices([*WORDS, *TWINS, "gone"], k=draw.randrange(7)) for _ in range(40)]
    return [["C1"], ["B1", "A9"], ["C1", "B5", "A9", "C5"], *some]


def canonical(history: list[str]) -> list[str]:
    """What `clean` would have made of it."""
    return list(dict.fromkeys(TWINS.get(item, item) for item in history))


@pytest.fixture(scope="module")
def bundle(make_model: Callable[..., Any], tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registered bundle of an untrained pair, whose catalogue had twins."""
    from components.registry.register import register
    from tests.registry.workspace import build_of

    folder = tmp_path_factory.mktemp("twins")
    pair = save_pair(folder / "pair", make_model, tokenizer)
    layout, params = build_of(folder / "workspace", pair, evaluate={"beams": DECODING.beams}, aliases=TWINS)
    register(params, layout)
    return layout.bundle


def test_the_engine_of_a_bundle_reads_twins_as_one_item(bundle: Path) -> None:
    """Prevents histories that lose their merged items, a twin that is recommended to its owner, one item read twice."""
    engine = Engine.load(bundle, device="cpu")
    expected = engine.recommend([canonical(history) for history in raw_histories()], K, DECODING)
    assert engine.recommend(raw_histories(), K, DECODING) == expected


def test_bulk_scoring_reads_twins_as_one_item(bundle: Path, tmp_path: Path) -> None:
    """Prevents a night's scoring, which reads raw interactions, that knows less than the evaluation did."""
    found = {}
    for name, histories in {"raw": raw_histories(), "canonical": list(map(canonical, raw_histories()))}.items():
        table = [{"user_id": f"u{user:02}", "item_id": item} for user, items in enumerate(histories) for item in items]
        pl.DataFrame(table).write_parquet(tmp_path / f"{name}.parquet")
        scoring = Scoring(bundle, tmp_path / f"{name}.parquet", tmp_path / name, device="cpu", k=K, beams=4)
        found[name] = rows(score_here(scoring))
    assert found["raw"] == found["canonical"]
    assert sum(row["known_items"] for row in found["raw"]) > 40


def test_the_registered_model_reads_twins_as_one_item(bundle: Path) -> None:
    """Prevents a server that tells the owner of an item that it does not know it."""
    import mlflow.pyfunc
    import pandas as pd

    from components.registry.store import connect

    connect(bundle.parents[3])
    model = mlflow.pyfunc.load_model("models:/idiom@champion")

    def answers(histories: list[list[str]]) -> Any:
        return model.predict(pd.DataFrame({"history": histories, "k": [3] * len(histories)})).to_dict("records")

    raw = raw_histories()
    assert answers(raw) == answers([canonical(history) for history in raw])
    assert answers([["C1", "B1"]])[0]["sentence"].startswith(f"After {WORDS['B1']}: ")


def test_a_bundle_of_a_time_without_aliases_goes_on_working(bundle: Path, tmp_path: Path) -> None:
    """Prevents a champion in production that the new code cannot load."""
    old = tmp_path / "bundle"
    shutil.copytree(bundle, old)
    (old / "aliases.parquet").unlink()
    write_manifest(old, kind="bundle")
    engine = Engine.load(old, device="cpu")
    assert engine.recommend([["C1", "B2"]], K, DECODING) == engine.recommend([["B2"]], K, DECODING)
