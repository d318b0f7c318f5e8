"""Small shops as raw files: people take things of one kind, so that texts, counts and histories all say something."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

_KINDS = ("soap", "lamp", "chair", "knife", "scarf", "drum")
_COLOURS = ("amber", "blue", "crimson", "dun", "ebony", "fawn", "green", "hazel", "ivory", "jade")


def write_shop(folder: Path, *, users: int = 150, seed: int = 1, brands: bool = True) -> Path:
    """`items.csv` and `interactions.csv`: sixty things, of which each user takes six of a kind, near colours first."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    head = ["item_id", "title", *(["brand"] if brands else []), "categories"]
    rows = [
        [f"i{kind}{colour}", f"{_COLOURS[colour]} {name}", *([f"maker {name}"] if brands else []), f"home, {name}s"]
        for kind, name in enumerate(_KINDS)
        for colour in range(len(_COLOURS))
    ]
    _write(folder / "items.csv", head, rows)
    taken = []
    for user in range(users):
        kind, colour = draw.integers(len(_KINDS)), draw.integers(len(_COLOURS))
        for step in range(6):
            day = 86_400 * int(15_000 + 7 * step + draw.integers(3))
            taken.append([f"u{user}", f"i{kind}{(colour + step) % len(_COLOURS)}", day])
    _write(folder / "interactions.csv", ["user_id", "item_id", "timestamp"], taken)
    return folder


def _write(path: Path, head: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
