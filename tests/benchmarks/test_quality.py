"""benchmarks/quality.py on a small shop made here: the shape of its line, and that an order drawn before the split is
another than the file's only where times tie."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import quality
from components.settings.file import from_dict


def write(folder: Path) -> None:
    """Thirty users of six items each, two a day; the days of user u0 are not known."""
    draw = np.random.default_rng(3)
    folder.mkdir()
    with (folder / "items.jsonl").open("w") as file:
        for number in range(12):
            item = {"item_id": f"i{number:02}", "title": f"soap {number % 4}", "categories": [f"shelf {number % 3}"]}
            file.write(json.dumps(item) + "\n")
    with (folder / "interactions.tsv").open("w") as file:
        file.write("user_id\titem_id\tpos\ttimestamp\n")
        for user in range(30):
            for place, item in enumerate(draw.permutation(12)[:6]):
                moment = "" if user == 0 else 86_400 * (16_000 + user + place // 2)
                file.write(f"u{user}\ti{item:02}\t{place}\t{moment}\n")


def test_it_prints_one_line_with_every_figure(tmp_path: Path, repository: Path) -> None:
    """Prevents a table of results whose script is broken, or whose keys move."""
    write(tmp_path / "shop")
    command = [
        sys.executable,
        "-m",
        "benchmarks.quality",
        "shop",
        "--data",
        str(tmp_path),
        "--voices",
        "popularity",
        "text",
    ]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=repository)
    (line,) = ran.stdout.splitlines()
    result = json.loads(line)
    assert (result["users"], result["items"], result["on"]) == (30, 12, "test")
    assert "graph" in result["left_out"] and "text" not in result["left_out"]
    for name in ("popularity", "text"):
        for protocol in ("strict", "refit"):
            for ties in ("file", "shuffle"):
                found = result["voices"][name][protocol][ties]
                for mask in ("masked", "unmasked"):
                    assert 0 < found[mask]["ndcg_at_10"] <= found[mask]["recall_at_10"] <= 1


def test_a_draw_moves_ties_alone(tmp_path: Path) -> None:
    """Prevents a shuffle that changes days, users without times, or nothing at all."""
    write(tmp_path / "shop")
    params = from_dict({"dataset": "shop", "ingest": {"format": "table", "path": "x", "columns": {"position": "pos"}}})
    rows = {}
    for shuffle in (False, True):
        ties = "shuffle" if shuffle else "file"
        shop = quality.read(params, tmp_path / "shop", tmp_path / ties, ties)
        parts = shop.histories.join(shop.valid, on="user_id").join(shop.test, on="user_id", suffix="_test")
        rows[shuffle] = {
            row["user_id"]: [*row["history"], row["target"], row["target_test"]] for row in parts.iter_rows(named=True)
        }
    assert rows[False]["u0"] == rows[True]["u0"]
    pairs = [(row[i : i + 2], rows[True][user][i : i + 2]) for user, row in rows[False].items() for i in (0, 2, 4)]
    assert all(set(one) == set(other) for one, other in pairs)
    turned = sum(one != other for one, other in pairs)
    assert 20 < turned < 70
