"""The contenders, variants and metrics of an evaluation: names, labels, colours and order, for whoever shows figures.

A baseline is one entry of `CONTENDERS` and one file in components/voices, of the same name. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MODEL = "model"

Variant = Literal["masked", "unmasked"]
VARIANTS: tuple[Variant, Variant] = ("masked", "unmasked")
"""Lists without and with the items that a user has already."""


@dataclass(frozen=True)
class Contender:
    """How one of those compared appears."""

    label: str
    """Head of its column and its name in a legend."""
    phrase: str
    """What stands for it in a sentence: "The model beats ..."."""
    colour: str
    """Of Okabe and Ito: told apart by colour-blind readers too, and in the report's dark mode."""


CONTENDERS: dict[str, Contender] = {
    MODEL: Contender("Idiom", "the model", "#0072B2"),
    "item_graph": Contender("item graph", "the item graph, which needs no training", "#E69F00"),
    "popularity": Contender("popularity", "popularity", "#8C8C8C"),
}
"""Name in metrics.json -> how it appears, in the order of tables and pictures: the model, then the strongest first."""


def baselines() -> list[str]:
    """All but the model, the weakest first: their order in per_user.parquet and on a terminal."""
    return [name for name in reversed(CONTENDERS) if name != MODEL]


def labels() -> dict[str, str]:
    """Name -> label of all contenders, in order."""
    return {name: contender.label for name, contender in CONTENDERS.items()}


def logged_as(name: str) -> str:
    """The group of a contender's figures in MLflow: those of the model are the test of the run, `test/recall_at_10`."""
    return "test" if name == MODEL else name


TIES = {
    "file": "the order of the file",
    "shuffle": "a drawn order",
    "set": "no order: any item of the last time is right",
}
"""`clean.ties` -> what the interactions of one time have in the headline."""

RANKING = {"recall": "Recall", "ndcg": "NDCG", "mrr": "MRR"}
"""Metrics of a ranking, in order, and what they are called."""
HEADLINE = ("recall", "ndcg")
"""Those that decide a verdict, at the headline cut-off."""


@dataclass(frozen=True)
class Breadth:
    """A figure of what the lists consist of, at the headline cut-off."""

    label: str
    digits: str
    """How it is written: the format of a number."""
    interval: bool = False


BREADTH = {
    "coverage": Breadth("Catalogue coverage@{k}", ".1%"),
    "popularity": Breadth("Mean training count of the items@{k}", ".1f"),
    "novelty": Breadth("Novelty@{k} (bits)", ".2f"),
    "gini": Breadth("Exposure Gini@{k}", ".3f", interval=True),
    "new_share": Breadth("Share of new items@{k}", ".2%", interval=True),
}
"""Name in metrics.json, before `_at_`, -> how it appears; in order."""


COSTS = {
    "seconds": "Seconds of training, by the clock",
    "cpu_seconds": "CPU seconds, of all threads and ranks",
    "gpu_seconds": "GPU seconds, of all ranks",
    "peak_rss_mib": "MiB of memory at most, of the largest rank",
    "peak_gpu_mib": "MiB of GPU memory at most, of the largest rank",
    "energy_wh": "Wh of all stages, an estimate",
    "cpu_seconds_per_promoted_point": "CPU seconds for a point (.01) beyond the champion before",
    "gpu_seconds_per_promoted_point": "GPU seconds for a point (.01) beyond the champion before",
    "energy_wh_per_promoted_point": "Wh for a point (.01) beyond the champion before, an estimate",
    "wall_seconds_per_1000_users_scored": "Seconds of scoring 1,000 users, by the clock",
    "cpu_seconds_per_1000_users_scored": "CPU seconds of scoring 1,000 users",
    "energy_wh_per_1000_users_scored": "Wh of scoring 1,000 users, an estimate",
}
"""What a version cost: name of the figure -> what it is called, in order. The first five are of the training, all its
phases together."""


def metric_order(metric: str) -> tuple[int, int, str]:
    """Key that sorts `recall_at_5`, ...: those of `RANKING` first, each by k as a number (a file has 10, 20, 5)."""
    name, _, k = metric.partition("_at_")
    kinds = list(RANKING)
    return kinds.index(name) if name in kinds else len(kinds), int(k) if k.isdigit() else 0, metric


def metric_label(metric: str) -> str:
    """`recall_at_10` -> `Recall@10`."""
    name, _, k = metric.partition("_at_")
    return f"{RANKING.get(name, name)}@{k}"
