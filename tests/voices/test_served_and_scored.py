"""A saved voice in the place of a bundle: scored for everybody, asked from the command line, served."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput
from components.evaluation.contenders import baselines
from components.recommender.catalogue import Catalogue
from components.registry.served import ServedModel
from components.settings.decoding import Decoding
from components.settings.params import Params
from components.storage.manifest import verify_manifest, write_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build, load
from components.voices.voice import Voice
from flows.recommend import recommend
from flows.score import score, scoring_of, team_of
from tests.recommender.pairs import TEXTS, WORDS
from tests.scoring.scorings import histories, rows, score_here


@pytest.fixture(params=[*baselines(), "graph_text"])
def voice(request: pytest.FixtureRequest, tokenizer: Any) -> Voice:
    catalogue = Catalogue(IdTable.from_words(tokenizer, WORDS), {"B1": "Black soap, 200 g"}, {"A9": "B1"})
    known = Ragged.of([catalogue.rows(history) for history in histories().values()])
    return build(request.param, Learned(catalogue, known, texts=TEXTS))


@pytest.fixture
def saved(voice: Voice, tmp_path: Path) -> Path:
    voice.save(tmp_path / "voice")
    return tmp_path / "voice"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path, table = tmp_path / "histories.parquet", histories()
    pq.write_table(pa.table({"user_id": list(table), "history": list(table.values())}), path)
    return path


SETTINGS: dict[str, Any] = {"k": 3, "shard_users": 50, "device": "cpu"}


@pytest.mark.server
def test_everybody_is_scored_with_a_voice(voice: Voice, saved: Path, source: Path, tmp_path: Path) -> None:
    """Prevents a job system that can score with one kind of model alone; by processes of their own, and by this one."""
    team, out = team_of("processes"), tmp_path / "out"
    said = score(tmp_path, Params(), source, out, bundle=saved, workers=1, settings=SETTINGS, team=team)
    assert "160 users" in said
    expected = voice.recommend(list(histories().values()), 3, Decoding())
    found = rows(out)
    assert [row["user_id"] for row in found] == list(histories())
    assert [row["item_ids"] for row in found] == [[each.item_id for each in row] for row in expected]
    assert [row["textual_ids"] for row in found] == [[each.words for each in row] for row in expected]
    again = score_here(scoring_of(tmp_path, Params(), source, tmp_path / "again", bundle=saved, settings=SETTINGS))
    assert rows(again) == found
    assert verify_manifest(again)["users_without_known_items"] == sum(row["known_items"] == 0 for row in found) > 0


def test_the_command_line_and_the_server_ask_a_voice(voice: Voice, saved: Path, tmp_path: Path) -> None:
    """Prevents answers that only the engine's own code path can give."""
    (expected,) = voice.recommend([["B1", "B3"]], 3, Decoding())
    answer = recommend(tmp_path, Params(), ["A9", "B3"], k=3, bundle=saved)
    assert answer["item_ids"] == [each.item_id for each in expected]
    assert answer["scores"] == [each.score for each in expected]
    assert answer["sentence"].startswith("After Black soap, 200 g and honey soap: ")
    served = ServedModel()
    served.load_context(SimpleNamespace(artifacts={"bundle": str(saved)}))
    found = served.predict(None, pd.DataFrame({"history": [["A9", "B3"], ["gone"]], "k": [3, 3]}))
    assert found["item_ids"].tolist() == [answer["item_ids"], []]


def test_a_directory_of_another_kind_is_refused(saved: Path, tmp_path: Path) -> None:
    """Prevents code that is loaded by a name in a file, and an old output of a scoring taken for a model."""
    for kind in ("scores", "voice", "load", "..recommender.engine", 7, None):
        write_manifest(saved, kind=kind)
        with pytest.raises(BadInput, match="is no kind of recommender"):
            load(saved)
        with pytest.raises(BadInput, match="not a model bundle"):
            recommend(tmp_path, Params(), ["B1"], k=3, bundle=saved)


def test_a_voice_without_its_counts_is_refused(saved: Path) -> None:
    """Prevents a traceback of safetensors in a night's log."""
    kind = verify_manifest(saved)["kind"]
    (saved / "voice.safetensors").write_bytes(b"half")
    write_manifest(saved, kind=kind, drop_repeats=True)
    with pytest.raises(BadInput, match="not a voice"):
        load(saved)
