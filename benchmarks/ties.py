"""What the order of interactions at the same time is worth: the untrained baselines under each `clean.ties`.

    python -m benchmarks.ties                                  # Beauty, Toys and Sports beside the checkout: minutes
    python -m benchmarks.ties amazon-beauty --draws 1
    python -m benchmarks.ties --draw-from benchmarks/results/ties.json --figure docs/images/ties.svg

Prints one JSON line: for each set the directions of neighbours at the same time, and recall@10 and NDCG@10 of item
graph and popularity with the order of the file, drawn (mean and each draw), with sets as targets, and with the k-core
of the training part. Leave-one-out, strict, all users, the whole catalogue ranked. docs/ties.md explains it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.machine import facts
from components.data.canonical import coded
from components.data.clean import tie_order
from components.data.clean.clean import clean
from components.data.ingest.ingest import ingest
from components.evaluation.arrays import Cases, cases
from components.evaluation.contenders import VARIANTS, baselines
from components.evaluation.metrics import ndcg, ranks, recall
from components.evaluation.slices import slices
from components.recommender.catalogue import Catalogue
from components.settings.decoding import Decoding
from components.settings.file import load
from components.settings.params import Clean, Params
from components.storage.artifacts import publish_json
from components.storage.layout import Layout
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build

ROOT = Path(__file__).resolve().parents[1]
SETS = ("amazon-beauty", "amazon-toys", "amazon-sports")
K = 10
_COLOURS = {"file": "#D55E00", "shuffle": "#0072B2"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or draw what was measured; print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"names of presets in params/ (default: {' '.join(SETS)})")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the raw data sets")
    parser.add_argument("--draws", type=int, default=3, help="seeds of the drawn order")
    parser.add_argument("--draw-from", type=Path, help="measure nothing, take this JSON line")
    parser.add_argument("--figure", type=Path, help="draw the figure of docs/ties.md here (SVG)")
    asked = parser.parse_args(arguments)
    if asked.draw_from:
        found = json.loads(asked.draw_from.read_text(encoding="utf-8"))
    else:
        of_sets = {name: _of_set(name, asked.data / name, asked.draws) for name in asked.sets or SETS}
        found = {"benchmark": "ties", "sets": of_sets, **facts()}
    if asked.figure:
        draw(found["sets"], asked.figure)
    print(json.dumps(found))


def _of_set(name: str, raw: Path, draws: int) -> dict[str, Any]:
    """All figures of one set, in a workspace that goes again."""
    params = load(ROOT / "params" / f"{name}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder), params.dataset)
        ingest(params.ingest, raw, layout)
        publish_json(layout.verdict, {"passed": True})
        seeds = [params.seed + number for number in range(draws)]
        found: dict[str, Any] = {"neighbours": _neighbours(layout)}
        found["file"] = _of_order(params, layout, ties="file")
        drawn = [_of_order(replace(params, seed=seed), layout, ties="shuffle") for seed in seeds]
        found["shuffle"] = drawn[0] | {name: _mean([each[name] for each in drawn]) for name in baselines()}
        found["shuffle"]["draws"] = [
            {name: {variant: each[name][variant] for variant in VARIANTS} for name in baselines()} for each in drawn
        ]
        found["set"] = _of_order(params, layout, ties="set")
        found["file_training_core"] = _of_order(params, layout, ties="file", core="training")
        found["shuffle_training_core"] = _of_order(params, layout, ties="shuffle", core="training")
    print(f"{name}: done", file=sys.stderr)
    return found


def _neighbours(layout: Layout) -> dict[str, Any]:
    """Directions of neighbours at the same time and, to compare with, of those at different times."""
    known = coded.read(layout.interactions)
    user, item, moment = pl.col("user"), pl.col("item"), pl.col("timestamp")
    apart = known.rows.filter((user == user.shift()) & (moment != moment.shift()) & (item != item.shift()))
    rising = known.rows.select((user == user.shift()) & (moment != moment.shift()) & (item > item.shift())).sum().item()
    return tie_order.measure(known).facts() | {"ascending_of_others": round(rising / max(apart.height, 1), 6)}


def _of_order(params: Params, layout: Layout, **how: Any) -> dict[str, Any]:
    """The baselines on what `clean` makes with the settings `how`."""
    settings: Clean = replace(params.clean, **how)
    report = clean(settings, params.seed, layout)
    items, histories, valid, test = (
        pl.read_parquet(path)
        for path in (layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets)
    )
    asked = cases(items, histories, valid, test, seed=params.seed, core=settings.min_item_interactions)
    table = IdTable(asked.item_ids, asked.item_ids, tuple((number,) for number in range(len(asked.item_ids))))
    sliced = slices(asked)
    found: dict[str, Any] = {
        "users": len(asked.user_ids),
        "items": len(asked.item_ids),
        "core": report["core"],
        "shares": {slicing: {name: round(float(mask.mean()), 6) for name, mask in sliced[slicing].items()}
                   for slicing in ("time of the target", "training interactions of the target")},
    }  # fmt: skip
    for name in baselines():
        voice = build(name, Learned(Catalogue(table), asked.train, asked.train_days))
        ranked = {variant: _ranks(asked, voice, mask_seen=variant == "masked") for variant in VARIANTS}
        found[name] = {variant: _means(rank, np.ones(len(rank), bool)) for variant, rank in ranked.items()}
        found[name]["slices"] = {
            group: _means(ranked["masked"], mask)
            for slicing in ("time of the target", "training interactions of the target")
            for group, mask in sliced[slicing].items()
        }
    return found


def _ranks(asked: Cases, voice: Any, *, mask_seen: bool) -> np.ndarray:
    """[users] rank of the target among the first `K`, 0 for none."""
    number = {item: place for place, item in enumerate(asked.item_ids)}
    lists = np.full((len(asked.user_ids), K), -1)
    for row, answer in enumerate(voice.recommend(asked.prompt_ids(), K, Decoding(mask_seen=mask_seen))):
        lists[row, : len(answer)] = [number[each.item_id] for each in answer]
    return ranks(lists, asked.targets, asked.also)


def _means(rank: np.ndarray, users: np.ndarray) -> dict[str, float]:
    return {
        f"recall_at_{K}": round(float(recall(rank[users], K).mean()), 6),
        f"ndcg_at_{K}": round(float(ndcg(rank[users], K).mean()), 6),
    }


def _mean(found: Sequence[Any]) -> Any:
    """The mean of nested figures, over those that have one: a draw may leave a slice empty."""
    if isinstance(found[0], dict):
        return {key: _mean([each[key] for each in found if key in each]) for key in found[0]}
    return round(sum(found) / len(found), 6)


def draw(sets: dict[str, Any], path: Path) -> None:
    """The figure: which way neighbours go, and NDCG of the item graph with both orders; equal figures, equal bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "ties", "svg.fonttype": "path"}):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_facecolor("white")
        left, middle, right = figure.subplots(1, 3)
        names = [name.removeprefix("amazon-").capitalize() for name in sets]
        places, width = np.arange(len(names)), 0.38

        def pair(axes: Any, first: list[float], second: list[float], labels: tuple[str, str], shown: str) -> None:
            for offset, values, label, colour in zip(
                (-width / 2, width / 2), (first, second), labels, _COLOURS.values(), strict=True
            ):
                bars = axes.bar(places + offset, values, width * 0.95, label=label, color=colour)
                axes.bar_label(bars, [format(value, shown).replace("0.", ".") for value in values], fontsize=7.5)
            axes.set_xticks(places, names)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1))

        of = list(sets.values())
        tied = [each["neighbours"]["ascending"] for each in of]
        share = [up / (up + each["neighbours"]["descending"]) for up, each in zip(tied, of, strict=True)]
        pair(left, share, [each["neighbours"]["ascending_of_others"] for each in of],
             ("neighbours on the same day", "neighbours on different days"), ".2f")  # fmt: skip
        left.axhline(0.5, color="#444444", linewidth=0.8, linestyle="--")
        left.set_title("Share with the larger product code second\n(chance: one half)", fontsize=9)
        graph = {order: [each[order]["item_graph"] for each in of] for order in _COLOURS}
        metric = f"ndcg_at_{K}"
        of_file, drawn = ([each["masked"][metric] for each in graph[order]] for order in _COLOURS)
        pair(middle, of_file, drawn, ("order of the file (papers)", "order drawn"), ".4f")
        middle.set_title(f"NDCG@{K} of the item graph, all users", fontsize=9)
        later, same = "later than the whole prompt", "same time as the prompt's last item"
        pair(right, [each["slices"][same][metric] for each in graph["file"]],
             [each["slices"][same][metric] for each in graph["shuffle"]],
             ("order of the file", "order drawn"), ".4f")  # fmt: skip
        right.hlines([each["slices"][later][metric] for each in graph["file"]], places - width, places + width,
                     colors="#222222", label="targets of a later day, order of the file")  # fmt: skip
        right.set_title(f"NDCG@{K} of the item graph,\ntargets of the same day as the item before", fontsize=9)
        right.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
