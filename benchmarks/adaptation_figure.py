"""The picture of an adaptation curve (benchmarks/adaptation.py): NDCG@10 by users that are known, a line a way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {
    **{"scratch": "#8C8C8C", "full": "#0072B2", "hybrid": "#D55E00", "graph_text": "#009E73"},
    **{"few_shot": "#D55E00", "few_shot_300": "#D55E00", "foundation": "#0072B2", "own_ranker": "#CC79A7"},
}
"""Lines that are drawn; others are thin and grey."""


def draw(curves: dict[str, Any], path: Path) -> None:
    """A picture a target: NDCG@10 by users that are known, a line a way; equal figures, equal bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "adaptation", "svg.fonttype": "path"}):
        figure = Figure(figsize=(5.6 * len(curves), 4), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_facecolor("white")
        for axes, (name, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
            ends = {}
            for way in dict.fromkeys(way for each in curve.values() for way in each):
                points = [(int(users), each[way]["ndcg_at_10"]) for users, each in curve.items() if way in each]
                points = [(users, value) for users, value in points if value is not None]
                shown = {"color": COLOURS.get(way, "#B0B0B0"), "linewidth": 2 if way in COLOURS else 1}
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, **shown)
                ends[way] = points[-1]
            low, gap = -1.0, 0.035 * max(value for _, value in ends.values())
            for way, (users, value) in sorted(ends.items(), key=lambda each: each[1][1]):  # apart, the lowest first
                low = max(value, low + gap)
                place = (users, low)
                axes.annotate(way, place, xytext=(5, 0), textcoords="offset points", fontsize=7.5, va="center")
            axes.set_xscale("symlog", linthresh=10)
            axes.set_xticks(ticks := [int(users) for users in curve], [f"{each:,}" for each in ticks], fontsize=8)
            axes.minorticks_off()
            axes.margins(x=0.15)
            axes.set_xlabel("users of the shop that are known", fontsize=8)
            axes.set_title(f"NDCG@10 on {name}", fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
