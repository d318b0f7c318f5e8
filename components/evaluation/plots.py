"""Plots of the metrics as PNG files; the same metrics give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation.contenders import CONTENDERS, MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUP = 0.81
"""Width of the bars of one slice, of 1 from slice to slice."""
_GAP = 0.01


def draw(metrics: Mapping[str, Any], folder: Path) -> dict[str, bytes]:
    """Write the pictures into `folder`; return caption -> PNG bytes."""
    k = metrics["protocol"]["headline_k"]
    drawn = {
        "recall_by_k.png": (f"Recall by list length ({metrics['protocol']['headline']})", _recall_by_k),
        "recall_by_history.png": (f"Recall@{k} by length of the history", _by_slice("history length")),
        "recall_by_target.png": (f"Recall@{k} by how often the target occurs in training", _by_slice("target")),
    }
    pictures = {}
    for name, (caption, painter) in drawn.items():
        _picture(folder / name, caption, painter, metrics)
        pictures[caption] = (folder / name).read_bytes()
    return pictures


def _picture(path: Path, caption: str, painter: Any, metrics: Mapping[str, Any]) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Neither a user's matplotlibrc nor the library's version in the file's metadata may change the bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(5.6, 3.2), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(caption, fontsize=10)
        painter(axes, metrics)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=len(CONTENDERS), frameon=False, fontsize=8)
        figure.savefig(path, metadata={"Software": None})


def _recall_by_k(axes: Axes, metrics: Mapping[str, Any]) -> None:
    ks = sorted(int(name.removeprefix("recall_at_")) for name in metrics["intervals"][MODEL] if "recall" in name)
    for who, contender in CONTENDERS.items():
        values = [metrics[metrics["protocol"]["headline"]][who][f"recall_at_{k}"] for k in ks]
        low, high = zip(*(metrics["intervals"][who][f"recall_at_{k}"] for k in ks), strict=True)
        axes.plot(ks, values, marker="o", label=contender.label, color=contender.colour)
        axes.fill_between(ks, low, high, color=contender.colour, alpha=0.15, linewidth=0)
    axes.set_xticks(ks)
    axes.set_xlabel("k (bands: 95 % interval)", fontsize=8)


def _by_slice(slicing: str) -> Any:
    def paint(axes: Axes, metrics: Mapping[str, Any]) -> None:
        groups, k = metrics["slices"][slicing], metrics["protocol"]["headline_k"]
        width = _GROUP / len(CONTENDERS)
        for number, (who, contender) in enumerate(CONTENDERS.items()):
            offset = (number - (len(CONTENDERS) - 1) / 2) * width
            heights = [group[who][f"recall_at_{k}"] for group in groups.values()]
            places = [place + offset for place in range(len(groups))]
            axes.bar(places, heights, width=width - _GAP, label=contender.label, color=contender.colour)
        labels = [f"{name}\n{group['users']:,} users" for name, group in groups.items()]
        axes.set_xticks(range(len(groups)), labels, fontsize=8)

    return paint
