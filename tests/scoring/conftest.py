"""An untrained pair, histories, a scoring of both, and what comes out of it undisturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.scoring.settings import Scoring
from tests.recommender import conftest as recommenders
from tests.recommender.pairs import save_pair
from tests.scoring.scorings import histories, score_here

make_model, one_thread, tokenizer = recommenders.make_model_fixture, recommenders.one_thread, recommenders.tokenizer


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Any], tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pair(tmp_path_factory.mktemp("bulk") / "pair", make_model, tokenizer)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, table = tmp_path_factory.mktemp("bulk") / "histories.parquet", histories()
    pq.write_table(pa.table({"user_id": list(table), "history": list(table.values())}), path)
    return path


@pytest.fixture
def scoring(model: Path, source: Path, tmp_path: Path) -> Scoring:
    return Scoring(model, source, tmp_path / "scores", k=3, beams=4, shard_users=4, device="cpu")


@pytest.fixture(scope="module")
def undisturbed(model: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "scores"
    return score_here(Scoring(model, source, out, k=3, beams=4, shard_users=4, device="cpu"))
