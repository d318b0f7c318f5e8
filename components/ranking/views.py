"""Views in the ranker: which voices and features they are, and what they are worth against shuffled ones.

rank = with_views(params.rank, learned.views)              # voices view:NAME, links, shared tails
report = controlled(taught, teach_again, ...)              # the same ranker without views, and with shuffled ones
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from components.errors import BadInput
from components.ranking.teaching import Choice
from components.ranking.training import gains, paired
from components.sampling import derive
from components.settings.ranking import Rank
from components.storage.vectors import Edges, Vectors, exchanged, has
from components.voices.load import VIEW

SHUFFLED, WITHOUT = "shuffled", "without"


def with_views(chosen: Rank, views: Mapping[str, Vectors]) -> Rank:
    """`chosen` with a voice for each view, and the relations of those that have some."""
    voices = [f"{VIEW}:{name}" for name in views]
    return replace(
        chosen,
        voices=list(dict.fromkeys([*chosen.voices, *voices])),
        evidence=list(dict.fromkeys([*chosen.evidence, *voices])),
        shared=list(dict.fromkeys([*chosen.shared, *relations_of(views)])),
    )


def relations_of(views: Mapping[str, Vectors]) -> list[str]:
    """VIEW.RELATION of all relations and labels (components/ranking/shared.py)."""
    return [f"{name}.{each}" for name, view in views.items() if isinstance(view, Edges) for each in view.names]


def shuffled(views: Mapping[str, Vectors], seed: int) -> dict[str, Vectors]:
    """Every view with the items changing places, each view in its own order; who has none has none."""
    found: dict[str, Vectors] = {}
    for name, view in views.items():
        rows = exchanged(has(view), derive(seed, "views", SHUFFLED, name))
        found[name] = view.of(rows) if isinstance(view, Edges) else np.asarray(view)[rows]
    return found


def compared(real: Choice, controls: Mapping[str, Choice | None]) -> dict[str, Any]:
    """For the report: NDCG@10 on validation with views and by each control, and the paired difference."""
    own = gains(_used(real))
    found: dict[str, Any] = {"with_views": {"ndcg_at_10": float(own.mean())}}
    for name, choice in controls.items():
        theirs = np.zeros_like(own) if choice is None else gains(_used(choice))
        mean, low, high = paired(own - theirs)
        found[name] = {"ndcg_at_10": float(theirs.mean()), "gain": mean, "interval": [low, high]}
    found["says"], found["in_words"] = said(found)
    return found


def said(found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Whether the views are better than shuffled ones, and than none: what is good to hear, and what a person has to
    know, as a warning."""
    good: list[str] = []
    lines: list[str] = []
    spoken = {SHUFFLED: "the same views shuffled over the items", WITHOUT: "no views"}
    for name, others in spoken.items():
        if name not in found:
            continue
        low, high = found[name]["interval"]
        gain = f"{found[name]['gain']:+.4f} NDCG@10 on validation, 95 % interval {low:+.4f} to {high:+.4f}"
        if low > 0:
            good.append(f"Views are better than {others}: {gain}.")
        elif high < 0:
            lines.append(f"Views are WORSE than {others}: {gain}. Take them out (views.ranker: false).")
        else:
            lines.append(f"Views cannot be told from {others}: {gain}. What they say of an item is worth nothing here.")
    return good, lines


def _used(choice: Choice) -> Any:
    return choice.ranks[choice.ranker.used]


Teach = Callable[[Mapping[str, Vectors]], Choice]


def controls(teach: Teach, views: Mapping[str, Vectors], seed: int) -> dict[str, Choice | None]:
    """The ranker taught once more with shuffled views, and without any; None where it has nothing to learn from then,
    as no voice proposes an item that anybody takes next."""
    found: dict[str, Choice | None] = {}
    for name, given in ((SHUFFLED, shuffled(views, seed)), (WITHOUT, dict[str, Vectors]())):
        try:
            found[name] = teach(given)
        except BadInput:
            found[name] = None
    return found
