"""The table of a grid: mean and deviation over seeds, as Markdown and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.evaluation.contenders import CONTENDERS, HEADLINE, MODEL, VARIANTS


@dataclass
class Result:
    """Metrics of one cell, as far as they are known."""

    variant: str
    seed: int
    valid: dict[str, float] = field(default_factory=dict)
    """Figures of the best state on the validation sample, from the training itself."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds of train, index, evaluate."""
    shares_with: str = ""
    """The variant whose training this is, where it is not its own."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """metrics.json of its evaluation."""
    per_user: Path | None = None
    """per_user.parquet of its evaluation."""
    failure: str = ""
    exit_code: int = 0

    @property
    def k(self) -> int:
        return int(self.metrics["protocol"]["headline_k"])

    def figures(self, who: str = MODEL) -> dict[str, float]:
        """`recall masked`, ... of the model or a baseline; {} before the evaluation."""
        if not self.metrics:
            return {}
        return {
            f"{name} {variant}": self.metrics[variant][who][f"{name}_at_{self.k}"]
            for variant in VARIANTS
            for name in HEADLINE
        }


def rows(results: Sequence[Result], first: str) -> list[dict[str, Any]]:
    """A row a variant, in order of appearance, then one a baseline. `first`: what the others are compared with.

    Each figure is {mean, deviation, values}; the deviation is that of a sample (n - 1), null for one seed.
    `difference`: NDCG masked minus that of `first` with the same seed.
    """
    table = [_row(name, results, first) for name in dict.fromkeys(each.variant for each in results)]
    judged = [each for each in results if each.metrics]
    if judged:
        baselines = [name for name in CONTENDERS if name != MODEL and name in judged[0].metrics[VARIANTS[0]]]
        # They do not depend on the training: one of them is all of them.
        table += [{"variant": name, "baseline": True, **_spread([judged[0].figures(name)])} for name in baselines]
    return table


def _row(variant: str, results: Sequence[Result], first: str) -> dict[str, Any]:
    own = [each for each in results if each.variant == variant]
    base = {each.seed: each.figures() for each in results if each.variant == first and each.metrics}
    gains = [
        {"difference": each.figures()["ndcg masked"] - base[each.seed]["ndcg masked"]}
        for each in own
        if variant != first and each.metrics and each.seed in base
    ]
    return {
        "variant": variant,
        "baseline": False,
        "seeds": [each.seed for each in own],
        "judged": [each.seed for each in own if each.metrics],
        "failures": {str(each.seed): each.failure for each in own if each.failure},
        "shares_training_with": next((each.shares_with for each in own if each.shares_with), None),
        **_spread([each.figures() for each in own if each.metrics]),
        **_spread(gains),
        **_spread([{"valid ndcg": each.valid["ndcg_at_10"]} for each in own if "ndcg_at_10" in each.valid]),
        **_spread([{"train seconds": each.seconds["train"]} for each in own if _trained(each)]),
    }


def _trained(each: Result) -> bool:
    return bool(each.valid) and "train" in each.seconds and not each.shares_with


def _spread(values: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    names = list(values[0]) if values else []
    found = {name: [each[name] for each in values] for name in names}
    return {
        name: {
            "mean": round(statistics.fmean(each), 6),
            "deviation": round(statistics.stdev(each), 6) if len(each) > 1 else None,
            "values": each,
        }
        for name, each in found.items()
    }


def markdown(table: Sequence[Mapping[str, Any]], *, k: int, on: str) -> str:
    """The rows as a Markdown table that is also readable as it is."""
    columns = {
        f"recall@{k}": "recall masked",
        f"NDCG@{k}": "ndcg masked",
        f"recall@{k}, seen too": "recall unmasked",
        f"NDCG@{k}, seen too": "ndcg unmasked",
        f"NDCG@{k} - first": "difference",
        "valid NDCG@10": "valid ndcg",
        "training, s": "train seconds",
    }
    head = ["variant", "seeds", *columns, "note"]
    body = [
        [
            title(row),
            "" if row["baseline"] else f"{len(row['judged'])} of {len(row['seeds'])}",
            *[cell(row.get(name), name) for name in columns.values()],
            note(row),
        ]
        for row in table
    ]
    lines = aligned(head, body)
    by = {"test": "test targets, opened once per trained model", "valid": "validation targets; the test set is shut"}
    lines += ["", f"Mean ± deviation over seeds, on the {by[on]}. seen too: items of the history are not left out."]
    return "\n".join(lines) + "\n"


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table whose columns are as wide as their longest cell."""
    widths = [max(len(line[at]) for line in [head, *body]) for at in range(len(head))]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [_line(head, widths), rule, *(_line(line, widths) for line in body)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def title(row: Mapping[str, Any]) -> str:
    """What a row is called."""
    return row["variant"].replace("_", " ") + (" (baseline)" if row["baseline"] else "")


def cell(value: Mapping[str, Any] | None, name: str) -> str:
    """A figure as mean ± deviation; empty where there is none."""
    if value is None:
        return ""
    digits, sign = (0, "") if name == "train seconds" else (4, "+" if name == "difference" else "")
    mean = f"{value['mean']:{sign}.{digits}f}"
    return mean if value["deviation"] is None else f"{mean} ± {value['deviation']:.{digits}f}"


def note(row: Mapping[str, Any]) -> str:
    """What failed in a variant, and whose training it shares."""
    if row["baseline"]:
        return "not trained"
    failed = [f"seed {seed} failed: {' '.join(why.splitlines()[:1])}" for seed, why in row["failures"].items()]
    shared = [f"training of {row['shares_training_with']}"] if row["shares_training_with"] else []
    return "; ".join([*failed, *shared]).replace("|", "/")
