"""Plots of the metrics as PNG files, for `dvc plots` and MLflow; the same metrics give the same bytes.

Differences are drawn around zero: on an axis that begins at zero, a model and the item graph look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation.contenders import CONTENDERS, MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUP = 0.7
"""Height that the whiskers of one slice take, of 1 from slice to slice."""


def draw(metrics: Mapping[str, Any], folder: Path) -> None:
    """Write the pictures into `folder`."""
    k = metrics["protocol"]["headline_k"]
    drawn = {
        "recall_by_k.png": (f"Recall by list length ({metrics['protocol']['headline']})", _recall_by_k),
        "difference_by_history.png": (f"NDCG@{k}, the model minus ..., by length of the history", "history length"),
        "difference_by_target.png": (f"NDCG@{k}, the model minus ..., by how frequent the target is", "target"),
    }
    for name, (caption, painter) in drawn.items():
        _picture(folder / name, caption, _by_slice(painter) if isinstance(painter, str) else painter, metrics)


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
        groups, metric = metrics["slices"][slicing], f"ndcg_at_{metrics['protocol']['headline_k']}"
        names = [name for name in CONTENDERS if name in metrics["against"]]
        step = _GROUP / len(names)
        for number, name in enumerate(names):
            found = [group["against"][name][metric] for group in groups.values()]
            values = [each["difference"] for each in found]
            ends = zip(
                *((value - e["interval"][0], e["interval"][1] - value) for value, e in zip(values, found, strict=True)),
                strict=True,
            )
            places = [row + (number - (len(names) - 1) / 2) * step for row in range(len(groups))]
            contender = CONTENDERS[name]
            axes.errorbar(
                values,
                places,
                xerr=[[max(0.0, end) for end in side] for side in ends],
                fmt="o",
                capsize=2,
                label=contender.label,
                color=contender.colour,
            )
        axes.axvline(0, color="#8C8C8C", linewidth=1, linestyle=":")
        labels = [f"{name}\n{group['users']:,} users" for name, group in groups.items()]
        axes.set_yticks(range(len(groups)), labels, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("right of the dotted line the model is better; 95 % intervals", fontsize=8)

    return paint
