"""What a language model adds to a sum: gains over its prior, for the sum's best items, which nothing else passes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.foundation import language as room
from components.foundation.ids import written
from components.foundation.language import Language, WithLanguage, ndcg_by_weight
from components.foundation.weights import language_weight
from components.networks.tokenizer import load_tokenizer, save_tokenizer
from components.progress import Progress
from components.ranking.fusion import Fusion
from components.ranking.lists import Held
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.settings.decoding import Decoding
from components.settings.params import Index
from components.settings.ranking import Fusion as Weights
from components.storage.ragged import Ragged
from components.training.job import Job
from components.training.run import train
from components.voices.learned import Learned
from flows.zero_shot import zero_shot
from tests.foundation.conftest import Done
from tests.textid.writing.test_instructed import TEMPLATE
from tests.training.conftest import micro, write_tables
from tests.training.pretrained import checkpoint

ITEMS = 30
TITLES = [
    f"{colour} {kind}"
    for colour in ("black", "white", "green", "blue", "red", "grey")
    for kind in ("soap", "towel", "brush", "lemon", "honey")
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that was trained for a second."""
    root = tmp_path_factory.mktemp("taught")
    write_tables(root)
    files = [root / f"{name}.parquet" for name in ("items", "histories", "valid_targets")]
    settings = micro(family="decoder-only", rounds=1, vocabulary_size=320)
    train(Job(*files, root / "pair", root / "work", settings, Index(max_tokens=9), 3, "k" * 64), Progress())
    return root / "pair"


@pytest.fixture(scope="module")
def both(bundle: Path) -> WithLanguage:
    ids = [f"i{number}" for number in range(ITEMS)]
    table = written(ids, TITLES, Index(), bundle=bundle)[0]
    learned = Learned(Catalogue(table), Ragged.of([]), None, {"title": TITLES}, seed=1)
    fusion = Fusion.build(learned, Weights(weights={"text_words": 1.0}))
    return WithLanguage(fusion, Language.load(bundle, table, drop_repeats=True), 0.5)


HISTORIES = Ragged.of([[0, 1, 7], [12], [3, 29]])
DAYS = np.full(6, np.nan)


def test_a_gain_is_what_the_history_adds(both: WithLanguage, bundle: Path) -> None:
    """Prevents: a prior of another item, scores in another order, and a catalogue of other numbers."""
    table = both.catalogue.table
    engine = Engine.load(bundle, device="cpu", catalogue=Catalogue(table))
    candidates = Ragged.of([[5, 2], [0, 13, 28], [7]])
    found = both._language.gains(HISTORIES, candidates)
    histories = [[table.item_ids[item] for item in row] for row in HISTORIES]
    for user, row in enumerate(candidates):
        for place, item in enumerate(row):
            after, before = (
                engine.scores([said], Ragged.of([[item]]), Decoding(scores="trie"))[0] for said in (histories[user], [])
            )
            assert found[candidates.offsets[user] + place] == pytest.approx(after - before, abs=1e-4)
    assert np.ptp(found) > 0.001


def test_nothing_passes_the_best_of_the_sum(both: WithLanguage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: items that nobody asked the language model about in front of those that it thinks little of."""
    monkeypatch.setattr(room, "MOST", 4)
    base, rows, items, gains = both.parts(HISTORIES, DAYS)
    assert (gains >= 0).all() and [int((rows == user).sum()) for user in range(3)] == [4, 4, 4]
    found = both.scores(HISTORIES, DAYS)
    for user, history in enumerate(HISTORIES):
        mine = items[rows == user]
        assert not set(mine) & set(history.tolist())
        others = np.setdiff1d(np.arange(ITEMS), [*mine, *history])
        assert found[user, mine].min() >= base[user, mine].min() >= base[user, others].max()
        assert np.array_equal(found[user, others], base[user, others])


def test_a_source_chooses_the_weight(both: WithLanguage) -> None:
    held = Held(HISTORIES, DAYS, np.array([2, 13, 4]))
    found = ndcg_by_weight(both, held, (0.0, 1e5))  # a model of one second knows thousandths of a nat
    assert set(found) == {0.0, 1e5} and found[0.0] != found[1e5]


def test_zero_shot_judges_it_beside_the_fixed_weights(done: Done, bundle: Path, tmp_path: Path) -> None:
    ask = {"foundation": None, "writer": None, "tier": "text_only", "k": 2, "judge_users": 20}
    zero_shot(done.raw, tmp_path / "out", bundle=bundle, **ask, say=lambda line: None)  # type: ignore[arg-type]
    judged = json.loads((tmp_path / "out" / "report.json").read_text())["judged"]
    assert {"fixed_weights", "fixed_weights_language"} <= set(judged["text_only"]["all"])


def test_a_twin_that_nobody_took_has_the_same_id(done: Done, bundle: Path, tmp_path: Path) -> None:
    """Prevents: a traceback where the whole catalogue merges an item into one that the clean tables do not have."""
    raw = tmp_path / "twins"
    shutil.copytree(done.raw, raw)
    rows = (raw / "items.csv").read_text().splitlines()
    twin = rows[1].partition(",")[2]
    (raw / "items.csv").write_text("\n".join([*rows, f"a-twin,{twin}"]) + "\n")
    ask = {"foundation": None, "writer": None, "tier": "text_only", "k": 2, "judge_users": 20}
    zero_shot(raw, tmp_path / "out", bundle=bundle, **ask, say=lambda line: None)  # type: ignore[arg-type]
    judged = json.loads((tmp_path / "out" / "report.json").read_text())["judged"]
    assert "fixed_weights_language" in judged["text_only"]["all"]


def test_an_instruct_model_is_asked_what_comes_next(tmp_path: Path) -> None:
    """Prevents: a history that it is not told, or told as one long word, and IDs of another item."""
    folder = checkpoint(tmp_path / "model", "qwen2")
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = TEMPLATE
    save_tokenizer(tokenizer, folder)
    language = Language.instructed(folder, [f"i{number}" for number in range(ITEMS)], TITLES, drop_repeats=True)
    told = language._engine._prompt([0, 1])
    said = tokenizer.decode(told.token_ids)
    assert f"{TITLES[0]}\n{TITLES[1]}" in said and said.rstrip().endswith("<assistant>")
    gains = language.gains(Ragged.of([[0, 1], [7]]), Ragged.of([[2, 3], [2]]))
    assert np.isfinite(gains).all() and gains[0] != gains[2] and language_weight(language.kind) > 0
