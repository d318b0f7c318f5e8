"""benchmarks/ties.py is run on a small shop, so that it cannot rot between the days on which someone measures."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from benchmarks import ties


def raw_set(folder: Path) -> None:
    """A set in the layout of amazon-beauty, whose days are sorted by item id."""
    folder.mkdir(parents=True)
    draw = random.Random(3)
    items = [f"B{number:03}" for number in range(30)]
    with gzip.open(folder / "items.jsonl.gz", "wt") as stream:
        for item in items:
            row = {"item_id": item, "title": f"thing {item}", "brand": "Acorn", "categories": [["Beauty", "Skin"]]}
            stream.write(json.dumps(row) + "\n")
    with gzip.open(folder / "interactions.tsv.gz", "wt") as stream:
        stream.write("user_id\titem_id\tpos\ttimestamp\n")
        for user in range(60):
            basket = draw.sample(items, 9)
            last = 5 if user % 2 else 8
            days = [sorted(basket[:3]), sorted(basket[3:5]), sorted(basket[5:last]), sorted(basket[last:])]
            rows = [(item, day) for day, found in enumerate(days) for item in found]
            for position, (item, day) in enumerate(rows):
                stream.write(f"u{user:02}\t{item}\t{position}\t{1_400_000_000 + 86_400 * day}\n")


def test_it_prints_one_json_line_and_draws_the_same_figure_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents: a figure of docs/ties.md that cannot be made again, and a drawn order that is the file's."""
    raw_set(tmp_path / "data" / "amazon-beauty")
    ties.main(["amazon-beauty", "--data", str(tmp_path / "data"), "--draws", "2"])
    line = capsys.readouterr().out
    found = json.loads(line)["sets"]["amazon-beauty"]
    assert (found["neighbours"]["ascending"], found["neighbours"]["descending"]) == (30 * 6 + 30 * 5, 0)
    assert found["neighbours"]["share_of_last_items_tied"] == 0.5
    assert found["file"]["users"] == found["shuffle"]["users"] == found["set"]["users"] == 60
    assert len(found["shuffle"]["draws"]) == 2 and found["shuffle"]["draws"][0] != found["shuffle"]["draws"][1]
    assert found["file"]["item_graph"]["masked"] != found["shuffle"]["item_graph"]["masked"]
    assert found["file_training_core"]["core"]["items"] == 0
    (tmp_path / "ties.json").write_text(line)
    drawn = []
    for name in ("one.svg", "two.svg"):
        ties.main(["--draw-from", str(tmp_path / "ties.json"), "--figure", str(tmp_path / name)])
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1] and b"<svg" in drawn[0]
