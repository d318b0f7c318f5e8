"""Writing the ID table of a whole catalogue, with models that have learned nothing or the wrong thing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.errors import BadInput, GateRefused
from components.networks.backbone import build
from components.settings.params import Index
from components.textid.table.id_table import IdTable
from components.textid.table.taken import Asked, TakenIds
from components.textid.words.tokenizer import encode_words, train_tokenizer
from components.textid.writing.candidates import allowed_tokens, readable
from components.textid.writing.generator import Generator
from components.textid.writing.writer import write_ids
from tests.networks.seq2seq_models import make_bart

SETTINGS = Index(max_tokens=8, candidates=4, groups=2, diversity_penalty=1.0, retries=2, batch_items=5)
TEXTS = [
    f"title: {brand} {kind} {colour}"
    for brand in ("acorn", "birch", "cedar")
    for kind in ("soap", "hand cream", "candle")
    for colour in ("red", "deep blue")
]
IDS = [f"i{number:02d}" for number in range(len(TEXTS))]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS * 50, vocabulary_size=400)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Random weights: it writes anything that is allowed, which is the hardest case for the contract."""
    return build("scratch", size="d_model=16,layers=1,heads=2", vocabulary_size=len(tokenizer), seed=3)


def written(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids=IDS, texts=TEXTS, **changes):  # type: ignore[no-untyped-def]
    taken = changes.pop("taken", None)
    return write_ids(model, tokenizer, ids, texts, replace(SETTINGS, **changes), max_item_tokens=24, taken=taken)


def test_the_table_keeps_its_contract(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents a table that the recommender cannot decode, whatever the generator writes."""
    table, report = written(model, tokenizer)
    assert table.violations(tokenizer, max_tokens=8, item_ids=IDS) == []
    assert table.item_ids == tuple(IDS)
    assert report["items"] == report["written"] == len(IDS)
    assert sum(attempt["assigned"] for attempt in report["attempts"]) + report["last_resort"] == len(IDS)


def test_the_order_of_the_rows_changes_nothing(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents IDs that change because a file was sorted differently; the table has the order of the catalogue."""
    order = random.Random(2).sample(range(len(IDS)), len(IDS))
    shuffled, _ = written(model, tokenizer, [IDS[row] for row in order], [TEXTS[row] for row in order])
    table = written(model, tokenizer)[0]
    assert shuffled.item_ids == tuple(IDS[row] for row in order)
    assert shuffled.words == tuple(table.words[row] for row in order)


def test_the_ids_of_items_change_nothing(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents textual IDs that depend on how the shop names its items: renamed at random, they get the same words."""
    names = random.Random(3).sample(IDS, len(IDS))
    assert written(model, tokenizer, names)[0].words == written(model, tokenizer)[0].words


def test_fifty_items_with_one_text_get_fifty_ids(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents an endless loop, or two items with one ID, where the texts cannot tell items apart."""
    ids = [f"same{number:02d}" for number in range(50)]
    table, report = written(model, tokenizer, ids, [TEXTS[0]] * 50)
    assert table.violations(tokenizer, max_tokens=8, item_ids=ids) == []
    assert report["last_resort"] > 0


@pytest.mark.parametrize("texts", [["", "", ""], ["!!", "…", "@"], ["日本の石鹸", "新しい石鹸", "มะพร้าว"]])
def test_items_without_known_words_get_an_id(model, tokenizer, texts: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Prevents a crash on an empty text, on signs only, and on a script that the tokenizer has never seen."""
    table, _ = written(model, tokenizer, ["a", "b", "c"], texts)
    assert table.violations(tokenizer, max_tokens=8, item_ids=["a", "b", "c"]) == []


def test_items_of_a_taken_table_keep_their_ids_and_gone_ones_keep_theirs_reserved(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents churn, and a new item that inherits what the recommender learned about one that is gone."""
    before, _ = written(model, tokenizer, IDS[:10], TEXTS[:10])
    after, report = written(model, tokenizer, IDS[2:], TEXTS[2:], taken=before)
    assert all(after.words[after.row_of[item]] == before.words[before.row_of[item]] for item in IDS[2:10])
    assert (report["kept"], report["written"], report["churn"]) == (8, 8, 0.0)
    assert not set(before.words[:2]) & set(after.words)


def test_every_item_taken_needs_no_generator_and_no_item_needs_nothing(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents a crash on the usual nightly run, in which no item is new, and on an empty catalogue."""
    table, _ = written(model, tokenizer)
    again, report = written(model, tokenizer, taken=table)
    assert again == table and report["attempts"] == []
    assert len(written(model, tokenizer, [], [])[0]) == 0


def test_ids_without_room_are_refused_with_the_mend(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents an endless search: one token cannot tell thousands of items apart."""
    ids = [f"x{number:04d}" for number in range(400)]
    with pytest.raises(BadInput, match=r"index\.max_tokens"):
        written(model, tokenizer, ids, ["soap"] * 400, max_tokens=1, retries=0)


def test_taken_ids_that_are_too_long_are_refused(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents a silent change of IDs that a recommender was trained on."""
    table = IdTable.from_words(tokenizer, {"i00": "acorn soap red birch candle deep blue cream"})
    with pytest.raises(GateRefused, match="at most 2 tokens"):
        written(model, tokenizer, ["i00"], TEXTS[:1], max_tokens=2, taken=table)


def test_an_item_id_that_occurs_twice_is_refused(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents an item lost silently."""
    with pytest.raises(BadInput, match="occurs twice"):
        written(model, tokenizer, ["a", "a"], ["soap", "soap"])


def test_the_model_comes_back_in_the_mode_it_was_in(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents dropout that stays switched off after a re-index in the middle of training."""
    model.train()
    first, _ = written(model, tokenizer, IDS[:4], TEXTS[:4])
    assert model.training
    model.eval()
    assert first == written(model, tokenizer, IDS[:4], TEXTS[:4])[0]


def test_ids_are_written_without_dropout(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents IDs that change from run to run: whoever trains hands over a model that drops at random."""
    model = make_bart("bart", len(tokenizer))
    for module in model.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    model.train()
    first, _ = written(model, tokenizer, IDS[:6], TEXTS[:6])
    model.eval()
    assert first == written(model, tokenizer, IDS[:6], TEXTS[:6])[0]


def test_ids_grow_only_where_a_stronger_penalty_did_not_help(model, tokenizer, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Prevents IDs longer than what the generator was taught, while shorter ones may still be free."""
    asked = []

    def find_nothing(_self, items, _taken, penalty, max_tokens, _task):  # type: ignore[no-untyped-def]
        asked.append((penalty, max_tokens))
        return [[] for _ in items]

    monkeypatch.setattr(Generator, "ask", find_nothing)
    written(model, tokenizer, retries=3)
    assert asked == [(1.0, 7), (2.0, 7), (4.0, 8), (8.0, 8)]


def test_readable_drops_repeats_and_non_words_and_prefers_the_items_own_words(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents "soap soap", "soap birdle" and names that the item's text does not know, as first choices."""
    taken_ids = TakenIds(tokenizer, max_tokens=12)
    written = ["candle candle", "birch soap", "acorn soap", "7", "acorn birdle", "birdle"]
    rows = [list(tokens) for tokens in encode_words(tokenizer, written)]
    known = {"acorn", "soap", "candle", "birch", "7"}
    scores = [-1.0, -1.0, -1.1, -0.5, -1.0, -0.5]
    options = readable([rows], [scores], [{"acorn", "soap", "candle"}], known, tokenizer, taken_ids, faithful=False)[0]
    assert [words for words, _ in options] == ["acorn soap", "birch soap", "acorn", "candle", "7", "birdle"]


@pytest.mark.parametrize("said", [["soap", "soap soap"], ["soap soap", "soap"]])
def test_of_equal_candidates_the_best_score_counts(tokenizer, said: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Prevents an ID that loses its item because a worse spelling of it was written as well."""
    rows = [list(tokens) for tokens in encode_words(tokenizer, said)]
    taken_ids = TakenIds(tokenizer, max_tokens=12)
    options = readable([rows], [[-1.0, -1.0]], [{"soap"}], {"soap"}, tokenizer, taken_ids, faithful=False)
    assert options == [[("soap", -1.0)]]


def test_allowed_tokens_are_parts_of_words(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents punctuation, byte pieces and special tokens in IDs."""
    allowed = tokenizer.convert_ids_to_tokens(allowed_tokens(tokenizer).nonzero().flatten().tolist())
    assert "▁soap" in allowed and "a" in allowed
    assert not {"</s>", "<pad>", "<unk>", "▁", ":", "<0xE3>"} & set(allowed)


def test_a_register_distinguishes_by_own_words_before_numbers(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents "soap 2" where the text of the item offers "soap red"."""
    taken_ids = TakenIds(tokenizer, max_tokens=6)
    asked = Asked("soap", ["soap", "red", "birch"])
    assert taken_ids.distinguish([asked]) == ["soap red"]
    assert taken_ids.distinguish([asked, asked, asked]) == ["soap birch", "soap 2", "soap 3"]
    with pytest.raises(ValueError, match="taken"):
        taken_ids.take("soap 2")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_writes_a_valid_table(model, tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prevents tensors left on the wrong device."""
    table, _ = write_ids(model, tokenizer, IDS, TEXTS, SETTINGS, max_item_tokens=24, device="cuda")
    model.to("cpu")
    assert table.violations(tokenizer, max_tokens=8, item_ids=IDS) == []
