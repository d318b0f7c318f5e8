"""`idiom zero-shot` on a shop that nothing was trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.errors import BadInput
from components.foundation.choosing import Chosen, as_chosen, better, choose
from components.foundation.columns import USUAL, for_shop
from components.foundation.judging import judged
from components.foundation.rivals import RepeatLast
from components.foundation.tiers import TIERS
from components.foundation.weights import Source, preset
from components.foundation.weights import choose as choose_weights
from components.ranking.lists import Held
from components.ranking.load import load
from components.ranking.teaching import held_out
from components.settings.decoding import Decoding
from components.settings.file import load as load_params
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.zero_shot import open_shop, table
from flows.zero_shot import foundation, zero_shot
from tests.foundation.conftest import Done
from tests.foundation.shops import write_shop
from tests.ranking.shops import shop


def test_a_shop_is_recommended_from_at_once(done: Done) -> None:
    """Prevents: IDs that say what no text says, items that nobody took left out, and a saved recommender that does not
    load."""
    recommender = load(done.out / "recommender")
    table = recommender.catalogue.table
    assert len(table) == 60 and len(set(table.words)) == 60
    for item, words in zip(table.item_ids, table.words, strict=True):
        assert set(words.split()) <= set(f"{recommender.catalogue.titles[item]} maker home {words}s".split())
    (found,) = recommender.recommend([["i00", "i01"]], 5, Decoding())
    assert found[0].item_id == "i02" and not {"i00", "i01"} & {each.item_id for each in found}
    assert any("saved" in line for line in done.lines) and any(line.startswith("After ") for line in done.lines)
    shown = [at for at, line in enumerate(done.lines) if line.startswith("  1. ")]
    assert len(shown) == 3 and all(done.lines[at + 1].startswith("     ") for at in shown), "each says why"


def test_it_judges_itself_tier_by_tier(done: Done) -> None:
    """Prevents: tiers that are mixed, rivals of another tier, and figures without an interval."""
    judged = json.loads((done.out / "report.json").read_text())["judged"]
    assert set(judged) == {*TIERS}
    for tier, found in judged.items():
        assert found["users"] == 80 and found["ours"] == ("chosen" if tier == "stream" else "foundation")
        assert found["difference_low"] <= found["difference"] <= found["difference_high"]
        assert found["difference"] == pytest.approx(found["ndcg_at_10"] - found["rival"]["ndcg_at_10"], abs=2e-6)
        assert ("graph" in found["all"]) == (tier == "stream") and ("popularity" in found["all"]) == (
            tier != "text_only"
        )
    assert judged["stream"]["ndcg_at_10"] > 0.9 > judged["text_only"]["ndcg_at_10"] > 0.4
    assert judged["text_only"]["all"]["repeat_last"] == 0.0


def test_it_says_where_a_method_without_training_is_better() -> None:
    """Prevents: a recommender that is saved and served beside a table in which it loses."""
    good, bad, same = np.ones(200, np.int64), np.full(200, 5), np.tile([1, 5], 100)
    beaten = judged({"foundation": bad, "text_words": good}, ours="foundation", rivals=["text_words"])
    level = judged({"foundation": same, "text_words": same[::-1]}, ours="foundation", rivals=["text_words"])
    assert "text_words alone is better" in "".join(table({"text_only": beaten}))
    assert "BEWARE" not in "".join(table({"text_only": level}))


def test_what_is_better_by_the_shops_own_past_answers(done: Done, tmp_path: Path) -> None:
    """Prevents: a saved ranker that was taught elsewhere, in a shop where the bare graph is better; a choice by the
    targets of the table that shows it; and one by a handful of histories, or by chance."""
    good, bad, same = np.ones(200, np.int64), np.full(200, 5), np.tile([1, 5], 100)
    for ranks, who in (({"item_graph": good}, "item_graph"), ({"item_graph": same}, "foundation")):
        found = judged({"foundation": bad if who == "item_graph" else same[::-1], **ranks}, ours="foundation",
                       rivals=["item_graph"])  # fmt: skip
        chosen = Chosen(better(found), "foundation", 200, found.figures)
        shown = as_chosen(found, chosen)
        assert chosen.name == who and shown.answers == who and shown.figures["chosen"] == found.figures[who]
        assert shown.differences[who] == (0.0, 0.0, 0.0) and shown.rival == "item_graph"
    opened = open_shop(done.out, load_params(done.out / "params.yaml"))
    graph = opened.recommender("stream", None, chosen=Chosen("item_graph", "foundation", 200, {}))
    graph.save(tmp_path / "graph")
    kept = load(tmp_path / "graph")
    assert {*kept.voices} == {"item_graph"} and kept.recommend([["i00", "i01"]], 3, Decoding())[0]
    report = json.loads((done.out / "report.json").read_text())
    assert report["answers"]["name"] == report["judged"]["stream"]["answers"] and report["answers"]["asked"] == 150
    left, held = held_out(opened.learned)
    assert all(target not in row for target, row in zip(held.targets, left.histories, strict=True))
    rows = opened.learned.histories.between(0, 99)
    few = replace(opened.learned, histories=rows, known_days=opened.learned.days[: len(rows.values)])
    assert choose(few, None, preset(), core=1, masked=True) == Chosen("fixed_weights", "fixed_weights")


def test_without_a_foundation_fixed_weights_answer(done: Done, tmp_path: Path) -> None:
    """Prevents: a command that needs a training elsewhere first; and too few histories that end in a traceback."""
    raw = write_shop(tmp_path / "young", users=1)
    lines: list[str] = []
    ask = {"foundation": None, "bundle": None, "writer": None, "tier": "text_only", "k": 2, "judge_users": 50}
    zero_shot(raw, tmp_path / "out", **ask, say=lines.append)  # type: ignore[arg-type]
    assert any(line.startswith("not judged") for line in lines)
    assert not any(line.startswith("     ") for line in lines), "texts alone know of nobody else's history"
    (found,) = load(tmp_path / "out" / "recommender").recommend([["i10"]], 3, Decoding())
    assert {each.item_id[:2] for each in found} == {"i1"}
    with pytest.raises(BadInput, match="no tier"):
        zero_shot(raw, tmp_path / "other", **(ask | {"tier": "all"}), say=lines.append)  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists(), "said before anything is read"


def test_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    """Prevents: two exports called `data`, of which the second is taught twice and the first not at all."""
    paths = [write_shop(tmp_path / shop / "data", users=3, seed=seed) for seed, shop in enumerate(("alpha", "beta"))]
    ask = {"users": 20, "encoder": None, "weights": None, "weight_users": 10}
    with pytest.raises(BadInput, match="two sources are called data"):
        foundation(paths, tmp_path / "out", **ask, say=lambda line: None)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("out*")), "said before anything is read"


def test_settings_that_were_mended_are_kept(tmp_path: Path) -> None:
    """Prevents: a message that asks for a setting which the next run overwrites, so that no mend helps."""
    raw = write_shop(tmp_path / "timeless", users=4)
    lines = (raw / "interactions.csv").read_text().splitlines()
    (raw / "interactions.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    ask = {"foundation": None, "bundle": None, "writer": None, "tier": None, "k": 1, "judge_users": 0}
    said: list[str] = []
    with pytest.raises(BadInput, match=r"ingest\.order: file"):
        zero_shot(raw, tmp_path / "out", **ask, say=said.append)  # type: ignore[arg-type]
    file = tmp_path / "out" / "params.yaml"
    assert any(str(file) in line and "--keep" in line for line in said)
    file.write_text(file.read_text().replace("ingest:\n", "ingest:\n  order: file\n"))
    zero_shot(raw, tmp_path / "out", **ask, keep=True, say=said.append)  # type: ignore[arg-type]
    assert len(load(tmp_path / "out" / "recommender").catalogue.table) == 60
    with pytest.raises(BadInput, match="these settings are not of"):
        zero_shot(tmp_path, tmp_path / "out", **ask, keep=True, say=said.append)  # type: ignore[arg-type]


def test_descriptions_are_read_where_a_shop_has_nothing_else() -> None:
    """Prevents: text voices that say nothing in a shop whose title column is there and empty, as `clean` writes it."""
    texts = {"title": [None, None], "categories": [[], None], "description": ["a blue soap", "a red soap"]}
    assert for_shop(Voices(), texts).text_words.words == ["description"]
    assert for_shop(Voices(), texts | {"title": ["soap", None]}).text_words.words == [*USUAL]


def test_a_history_that_lacks_a_time_has_none(tmp_path: Path) -> None:
    """Prevents: 17,000 days between an event of an unknown day and the next, where `clean` has no days."""
    raw = write_shop(tmp_path / "gaps", users=4)
    rows = [line.split(",") for line in (raw / "interactions.csv").read_text().splitlines()[1:]]
    rows[1][2] = ""
    lines = [",".join([user, item, str(at), time]) for at, (user, item, time) in enumerate(rows)]
    (raw / "interactions.csv").write_text("\n".join(["user_id,item_id,position,timestamp", *lines]) + "\n")
    ask = {"foundation": None, "bundle": None, "writer": None, "tier": None, "k": 1, "judge_users": 0}
    zero_shot(raw, tmp_path / "out", **ask, say=lambda line: None)  # type: ignore[arg-type]
    learned = open_shop(tmp_path / "out", load_params(tmp_path / "out" / "params.yaml")).learned
    unknown = np.isnan(Ragged(learned.histories.offsets, learned.days).row(0))
    assert len(unknown) == 6 and unknown.all() and np.isnan(learned.days).sum() == 6


def test_weights_are_chosen_by_what_they_find(done: Done) -> None:
    """Prevents: a search that keeps a voice that says nothing, or misses one that knows."""
    draw = np.random.default_rng(1)
    users, items = 300, 50
    targets = draw.integers(items, size=users)
    knows = draw.random((users, items), np.float32)
    knows[np.arange(users), targets] += 3.0
    names = ("text_words", "text", "text_last", "popularity", "recent")
    scores = {name: draw.random((users, items), np.float32) for name in names} | {"text_last": knows}
    held = Held(Ragged.of([[] for _ in range(users)]), np.zeros(0), targets)
    found = choose_weights([Source(scores, held)], "statistics")
    assert found.keys() == {"text_words", "text_last"}
    assert set(json.loads(done.weights.read_text())["weights"]) == {*TIERS} == {*preset()}


def test_repeat_last_says_the_newest_first() -> None:
    """Prevents: a rival that is weaker than it is."""
    learned, _ = shop(users=3)
    scores = RepeatLast(learned.catalogue, {}).scores(Ragged.of([[4, 7, 4], [], [9]]), np.zeros(4))
    assert scores[0, [4, 7]].tolist() == [3.0, 2.0] and scores[1].max() == 0.0 and scores[2].argmax() == 9
