"""The table of a grid for a terminal: a line a variant, a bar as long as its NDCG, a hundred columns at most.

The whole table, with masked and unmasked figures, is Markdown in the grid's folder and in MLflow (table.py).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from flows.ablation.table import cell, note, title

WIDTH = 100
_BAR = 10
_NAME = 14
"""Least columns of a name, where figures with deviations fill the rest."""


def terminal(table: Sequence[Mapping[str, Any]], *, k: int, on: str, width: int = WIDTH) -> str:
    """The rows of `table.rows` as text. What failed is said below; where nothing was judged yet, the bars are those of
    the validation sample."""
    from rich.bar import Bar
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    judged = any("ndcg masked" in row for row in table)
    drawn, what = ("ndcg masked", f"NDCG@{k}") if judged else ("valid ndcg", "valid NDCG@10")
    longest = max((row[drawn]["mean"] for row in table if drawn in row), default=0.0)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), width=width if width < WIDTH else None)
    shown.add_column(
        "variant", overflow="fold", min_width=min(_NAME, max(len(title(row)) for row in table)), max_width=26
    )
    shown.add_column("seeds", no_wrap=True)
    for head in (what, "", "- first", f"recall@{k}", "train s"):
        shown.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for row in table:
        bar = Bar(longest or 1.0, 0, row[drawn]["mean"], width=_BAR) if drawn in row else ""
        figures = [cell(row.get(name), name) for name in ("difference", "recall masked", "train seconds")]
        seeds = "" if row["baseline"] else f"{len(row['judged'])}/{len(row['seeds'])}"
        shown.add_row(title(row), seeds, cell(row.get(drawn), drawn), bar, *figures)
    said = io.StringIO()
    Console(file=said, width=width, color_system=None, legacy_windows=False).print(shown)
    lines = [line.rstrip() for line in said.getvalue().splitlines()]
    lines += [f"{title(row)}: {text}" for row in table if (text := note(row)) and not row["baseline"]]
    by = {"test": "the test targets", "valid": "the validation targets; the test set is shut"}[on]
    return "\n".join([*lines, f"Mean ± deviation over seeds, on {by}; the bar is {what}."]) + "\n"
