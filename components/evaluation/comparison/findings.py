"""What a comparison found as plain values, for comparison.json and for whoever decides by it."""

from __future__ import annotations

from typing import Any

from components.evaluation.comparison.compare import Comparison, judge, warnings
from components.evaluation.comparison.paired import Paired
from components.evaluation.figures import rounded


def findings(found: Comparison) -> dict[str, Any]:
    """Figures of all, differences to the first side overall and by slice, and who was left out; six digits."""
    names = [side.name for side in found.sides]
    return {
        "sides": [{"name": side.name, "who": side.who, "protocol": dict(side.protocol)} for side in found.sides],
        "metric": found.metric,
        "users": len(found.users),
        "left_out": dict(found.left_out),
        "warnings": warnings(found.sides),
        "figures": rounded({name: dict(each) for name, each in found.figures.items()}),
        "differences": {
            names[pair.side]: {
                "overall": {metric: _plain(each) | {"verdict": judge(each)} for metric, each in pair.overall.items()},
                "slices": [
                    {
                        "slicing": each.slicing,
                        "slice": each.name,
                        "verdict": each.verdict,
                        "p_holm": rounded(each.p_holm),
                    }
                    | _plain(each.found)
                    for each in pair.slices
                ],
            }
            for pair in found.pairs
        },
        "seed": found.seed,
    }


def _plain(each: Paired) -> dict[str, Any]:
    return {
        "users": each.users,
        "gained": each.gained,
        "lost": each.lost,
        **rounded(
            {
                "reference": each.a,
                "value": each.b,
                "difference": each.difference,
                "interval": [each.low, each.high],
                "p": each.p,
                "effect": each.effect,
            }
        ),
    }
