"""`idiom zero-shot` on a shop whose texts say nothing: what is related, and what looks alike, does."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.ranking.explaining import explainer
from components.ranking.load import load
from components.settings.decoding import Decoding
from flows.zero_shot import zero_shot
from tests.foundation.conftest import Done
from tests.foundation.shops import write_shop

DESIGNERS = ("Ada Berg", "Bo Castor", "Cy Delta", "Dee Ember", "Eli Fjord", "Fay Grove")
"""Of the things `i0?`, `i1?`, ...; each has a colour, too."""
COLOURS = ((200, 30, 30), (30, 160, 40), (30, 60, 200), (230, 200, 40), (120, 40, 160), (30, 160, 170))


def write_bare(folder: Path, *, users: int, graph: bool = False, pictures: bool = False) -> Path:
    """The shop of `write_shop` without brand and category, its titles replaced by words that no two share."""
    write_shop(folder, users=users)
    with (folder / "items.csv").open(encoding="utf-8") as file:
        ids = [row["item_id"] for row in csv.DictReader(file)]
    letters = "bcdfghjklmnpqrstvwxz"
    titles = [f"{letters[number % 20]}a{letters[number // 20]}uri{letters[number % 7]}o" for number in range(len(ids))]
    _write(folder / "items.csv", [["item_id", "title"], *zip(ids, titles, strict=True)], ",")
    if graph:
        rows = [(item, relation, tail(item)) for item in ids for relation, tail in RELATIONS.items()]
        _write(folder / "kg.tsv", [["head", "relation", "tail"], *rows], "\t")
    if pictures:
        (folder / "pictures").mkdir()
        for item in ids:
            Image.new("RGB", (24, 24), COLOURS[int(item[1])]).save(folder / "pictures" / f"{item}.png")
    return folder


def designer(item: str) -> str:
    return DESIGNERS[int(item[1])]


RELATIONS = {"designer": designer, "registered": lambda item: f"E{item[1]}471"}
"""The second one is a code, which is like the first and no word."""


def _write(path: Path, rows: Any, separator: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)


def ask(raw: Path, out: Path, *, foundation: Path | None = None, judge: int = 0, tier: str | None = "text_only") -> Any:
    given: dict[str, Any] = {
        "foundation": foundation,
        "bundle": None,
        "writer": None,
        "tier": tier,
        "k": 3,
        "judge_users": judge,
    }
    zero_shot(raw, out, **given, say=lambda line: None)
    return load(out / "recommender")


def kinds_of(recommender: Any) -> set[str]:
    (found,) = recommender.recommend([["i10"]], 5, Decoding())
    return {each.item_id[:2] for each in found}


@pytest.mark.parametrize("beside", ["graph", "pictures"])
def test_what_lies_beside_the_texts_recommends_at_once(beside: str, tmp_path: Path) -> None:
    """Prevents: relations and pictures that are read and say nothing, also of things that nobody took."""
    raw = write_bare(tmp_path / "raw", users=1, **{beside: True})
    recommender = ask(raw, tmp_path / "out")
    assert kinds_of(recommender) == {"i1"}
    assert kinds_of(ask(write_bare(tmp_path / "bare", users=1), tmp_path / "plain")) != {"i1"}
    if beside == "graph":
        table = recommender.catalogue.table
        said = dict(zip(table.item_ids, table.words, strict=True))
        assert {"bo", "castor"} & {*said["i10"].split()}, "words of relations are words of IDs"
        assert not any(sign.isdigit() for sign in said["i10"].replace("i10", "")), "a code is no word"


def test_relations_are_reasons_that_are_true(done: Done, tmp_path: Path) -> None:
    """Prevents: a foundation that cannot rank in a shop with views, and `same designer as X` of another designer."""
    raw = write_bare(tmp_path / "raw", users=60, graph=True)
    recommender = ask(raw, tmp_path / "out", foundation=done.foundation, judge=40, tier=None)
    history = ["i20", "i21"]
    (found,) = recommender.recommend([history], 5, Decoding())
    results = [each.item_id for each in found]
    explain = explainer(recommender, Decoding())
    assert explain is not None
    (reasons,) = explain.of([history], [results])
    said = [(clause, result) for clauses, result in zip(reasons, results, strict=True) for clause in clauses]
    related = [(clause, result) for clause, result in said if clause.kind == "relation"]
    assert related and all(designer(str(clause.item)) == designer(result) for clause, result in related)
    judged = json.loads((tmp_path / "out" / "report.json").read_text())["judged"]
    assert all("without_views" in each["all"] for each in judged.values())
    assert judged["text_only"]["all"]["fixed_weights"] > 0.6, "words of relations alone already tell"
