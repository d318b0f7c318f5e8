"""The engine and the pair it loads: histories with holes, answers in words, and files that are not what they were."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.errors import BadInput, GateRefused
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.pair import Pair
from components.settings.decoding import Decoding
from components.storage.artifacts import publish_json, publishing
from components.storage.manifest import write_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from tests.recommender.pairs import WORDS, save_pair
from tests.recommender.references import by_hugging_face

K, DECODING = 3, Decoding(beams=4, scores="vocabulary")
EVERYTHING = Decoding(beams=7, mask_seen=False)


@pytest.fixture(scope="module", params=["t5", "bart"])
def saved(
    request: pytest.FixtureRequest,
    make_model: Callable[..., Any],
    tokenizer: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return save_pair(tmp_path_factory.mktemp("pairs") / "pair", make_model, tokenizer, kind=request.param)


@pytest.fixture(scope="module")
def engine(saved: Path) -> Engine:
    return Engine.load(saved, device="cpu")


def test_answers_are_those_of_hugging_face(saved: Path, engine: Engine) -> None:
    """The whole way from item ids to item ids: a wrong row, prompt or mask on it shows here."""
    pair = Pair.load(saved)
    history = ["B2", "B4"]
    rows = [pair.table.item_ids.index(item) for item in history]
    items = [pair.table.token_ids[row] for row in rows]
    prompt = pair.prompts.tokenise(pair.tokenizer).build(0, items, max_tokens=512)
    input_ids = torch.tensor([prompt.token_ids])
    expected = by_hugging_face(
        pair.recommender, pair.table.token_ids, input_ids, input_ids * 0 + 1, beams=4, results=3, excluded=[rows]
    )[0]
    found = engine.recommend([history], K, DECODING)[0]
    assert [one.item_id for one in found] == [pair.table.item_ids[item] for item, _ in expected]
    assert [one.score for one in found] == pytest.approx([score for _, score in expected], abs=1e-4)
    assert [one.words for one in found] == [WORDS[one.item_id] for one in found]


def test_items_beyond_the_prompt_are_masked_too(engine: Engine) -> None:
    """The prompt reads three items; older ones the user has all the same."""
    found = engine.recommend([["B1", "B2", "B3", "B4", "B5"]], 6, DECODING)[0]
    assert [one.item_id for one in found] == ["B6"]


def test_answers_do_not_depend_on_batch_users(engine: Engine) -> None:
    """Sorting by length and splitting into batches must put every answer back to its user."""
    histories = [["B1"] * count + ["B2", "B3"][: count % 3] for count in range(7)]
    whole = engine.recommend(histories, K, DECODING)
    pieces = engine.recommend(histories, K, replace(DECODING, batch_users=2))
    assert [[one.item_id for one in row] for row in pieces] == [[one.item_id for one in row] for row in whole]


def test_given_items_score_as_in_recommendations(engine: Engine) -> None:
    """Prevents a candidate that gets another user's score when users are sorted by length and cut into batches."""
    histories = [["B1", "B2"], [], ["B3", "B1", "B2", "B4"], ["B5"]]
    decoding = replace(EVERYTHING, batch_users=2)
    answers = engine.recommend(histories, 6, decoding)
    rows = {item: row for row, item in enumerate(engine.catalogue.table.item_ids)}
    candidates = Ragged.of([[rows[one.item_id] for one in reversed(row)] for row in answers])
    expected = [one.score for row in answers for one in reversed(row)]
    assert engine.scores(histories, candidates, decoding) == pytest.approx(expected, abs=1e-5)


def test_beams_are_at_least_k(engine: Engine) -> None:
    """k beyond the beams would silently give fewer results."""
    assert len(engine.recommend([["B1"]], 5, Decoding(beams=1))[0]) == 5


def test_an_engine_that_is_done_with_is_gone(saved: Path) -> None:
    """Validation makes one an epoch: each held its trie and output rows until a full garbage collection came by."""
    engine = Engine.load(saved, device="cpu")
    engine.recommend([["B1"]], K, DECODING)
    gone = [weakref.ref(engine), weakref.ref(engine._trie)]
    gc.disable()  # it must go by itself
    try:
        del engine
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_searches_of_the_last_settings_are_kept(saved: Path) -> None:
    """Built anew, a search copies the output rows; kept for each k that a visitor thinks of, they fill the memory."""
    engine = Engine.load(saved, device="cpu")
    first, *_, last = (engine._search(5, k, "trie", 0.0) for k in (1, 2, 3, 1, 4, 5, 1))
    assert first is last
    assert [k for _, k, *_ in engine._searches] == [3, 4, 5, 1]


def test_a_new_visitor_gets_what_is_likely_for_anyone(engine: Engine) -> None:
    """Prevents a shop front that stays empty until the first purchase."""
    assert len(engine.recommend([[]], K, DECODING)[0]) == K


def test_another_table_replaces_that_of_the_pair(saved: Path, tokenizer: Any) -> None:
    """`index` adds items after training: they must be there to be recommended."""
    wider = Catalogue(IdTable.from_words(tokenizer, {**WORDS, "B7": "lemon cream"}))
    found = Engine.load(saved, device="cpu", catalogue=wider).recommend([[]], 7, EVERYTHING)[0]
    assert {one.item_id for one in found} == {*WORDS, "B7"}


def test_a_table_with_other_ids_is_refused(saved: Path, tokenizer: Any) -> None:
    """`index.stable: false` beside an old recommender: nothing would crash, and every recommendation would be wrong."""
    items = sorted(WORDS)
    swapped = {**WORDS, items[0]: WORDS[items[1]], items[1]: WORDS[items[0]]}
    other = Catalogue(IdTable.from_words(tokenizer, swapped))
    with pytest.raises(GateRefused, match=r"33\.3% of the items have other IDs(?s:.*)index\.stable"):
        Engine.load(saved, device="cpu", catalogue=other)


def test_a_table_of_another_tokenizer_is_refused(saved: Path) -> None:
    """A new table with an old recommender is silent garbage; where it can be seen, it is said at once."""
    other = Catalogue(IdTable(("B9",), ("far away",), ((999,),)))
    with pytest.raises(BadInput, match="token 999"):
        Engine.load(saved, device="cpu", catalogue=other)


def test_a_gpu_that_is_not_there_is_bad_input(saved: Path) -> None:
    """`idiom score --device cuda:99` ended in torch's traceback, from a worker."""
    with pytest.raises(BadInput, match="device cuda:99"):
        Engine.load(saved, device="cuda:99")


def test_same_pair_same_bytes(saved: Path, tmp_path: Path) -> None:
    """DVC compares bytes: writing what was read must change nothing."""
    with publishing(tmp_path / "again") as directory:
        Pair.load(saved).write(directory)
        write_manifest(directory)
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (saved / "manifest.json").read_bytes()


def copy_of(saved: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(saved, tmp_path / "pair"))


def test_changed_files_are_refused(saved: Path, tmp_path: Path) -> None:
    """A flipped bit in the weights answers with nonsense; only the manifest can tell."""
    pair = copy_of(saved, tmp_path)
    weights = pair / "recommender" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadInput, match="SHA-256"):
        Engine.load(pair)


def test_pickles_are_refused(saved: Path, tmp_path: Path) -> None:
    """Opening a pickle runs what is in it, manifest or not."""
    pair = copy_of(saved, tmp_path)
    weights = pair / "recommender" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    write_manifest(pair)
    with pytest.raises(BadInput, match="pickle"):
        Engine.load(pair)


def test_remote_code_is_refused(saved: Path, tmp_path: Path) -> None:
    """A config can name Python code to load the model with; it must not run."""
    pair = copy_of(saved, tmp_path)
    (pair / "recommender" / "evil.py").write_text("raise SystemExit('remote code ran')\n")
    config = json.loads((pair / "recommender" / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForSeq2SeqLM": "evil.Evil"}}
    (pair / "recommender" / "config.json").write_text(json.dumps(config))
    write_manifest(pair)
    with pytest.raises(BadInput, match="config cannot be read"):
        Engine.load(pair)


def test_facts_without_max_history_are_refused(saved: Path, tmp_path: Path) -> None:
    """Another history length than in training makes other prompts; it must not be guessed."""
    pair = copy_of(saved, tmp_path)
    (pair / "pair.json").write_text("{}")
    write_manifest(pair)
    with pytest.raises(BadInput, match="max_history"):
        Engine.load(pair)


@pytest.mark.parametrize("said", [True, False, None])
def test_repeats_are_read_as_in_the_training(
    make_model: Any, tokenizer: Any, tmp_path: Path, said: bool | None
) -> None:
    """Prevents prompts that no training had, from whoever asks with raw histories. Pairs of earlier versions do not say
    it; the settings in their bundle do."""
    facts = {} if said is None else {"drop_repeats": said}
    pair = save_pair(tmp_path / "pair", make_model, tokenizer, **facts)
    assert Engine.load(pair, device="cpu").catalogue.canonical(["B1", "B2", "B1"]) == (
        ["B1", "B2", "B1"] if said is False else ["B1", "B2"]
    )
    publish_json(pair / "params.json", {"clean": {"drop_repeats": False}})
    write_manifest(pair, kind="bundle")
    assert Engine.load(pair, device="cpu").catalogue.drop_repeats is (said is True)
