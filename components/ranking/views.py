"""Views in the ranker: which voices and features they are, and what they are worth against shuffled ones.

rank = with_views(params.rank, learned.views)              # voices view:NAME, links, shared tails
spoilt = controls(teach_again, learned.views, seed)        # the same ranker with shuffled views, and without any
report = compared(taught, spoilt)                          # "taken": "without" where views are worse beyond chance
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from components.errors import BadInput
from components.ranking.teaching import Taught
from components.ranking.training import gains, paired
from components.sampling import derive
from components.settings.ranking import Rank
from components.storage.vectors import Edges, Vectors, exchanged, has
from components.voices.load import VIEW

SHUFFLED, WITHOUT = "shuffled", "without"


def with_views(chosen: Rank, views: Mapping[str, Vectors]) -> Rank:
    """`chosen` with a voice for each view, and the relations of those that have some; without those of no view that is
    there, so that a ranker without any can be taught beside it."""
    voices = [f"{VIEW}:{name}" for name in views]

    def known(names: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*(each for each in names if not _is_view(each) or each in voices), *voices]))

    return replace(
        chosen,
        voices=known(chosen.voices),
        evidence=known(chosen.evidence),
        shared=list(dict.fromkeys([*chosen.shared, *relations_of(views)])),
    )


def refuse_unknown(chosen: Rank, views: Mapping[str, Vectors]) -> None:
    """Raises `BadInput` for a voice of a view that is not there."""
    for key, names in (("voices", chosen.voices), ("evidence", chosen.evidence)):
        for each in names:
            if _is_view(each) and each.partition(":")[2] not in views:
                there = ", ".join(f"{VIEW}:{name}" for name in views) or "none, as there are no views"
                raise BadInput(
                    f"{each!r} is the voice of a view that is not there",
                    where=f"rank.{key} in params.yaml",
                    mend=f"take it out, or name one that is: {there} (views.only and ingest.media say which are made)",
                )


def _is_view(voice: str) -> bool:
    return voice.startswith(f"{VIEW}:")


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


def compared(real: Taught, spoilt: Mapping[str, Taught | None]) -> dict[str, Any]:
    """For the report: NDCG@10 on validation with views and by each control, and the paired difference."""
    own = gains(_used(real))
    found: dict[str, Any] = {"with_views": {"ndcg_at_10": float(own.mean())}}
    for name, taught in spoilt.items():
        theirs = np.zeros_like(own) if taught is None else gains(_used(taught))
        mean, low, high = paired(own - theirs)
        found[name] = {"ndcg_at_10": float(theirs.mean()), "gain": mean, "interval": [low, high]}
    found["taken"] = WITHOUT if WITHOUT in found and found[WITHOUT]["interval"][1] < 0 else "with_views"
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
            mend = "The ranker goes without them" if name == WITHOUT else "Take them out (views.ranker: false)"
            lines.append(f"Views are WORSE than {others}: {gain}. {mend}.")
        else:
            lines.append(f"Views cannot be told from {others}: {gain}. What they say of an item is worth nothing here.")
    return good, lines


def _used(taught: Taught) -> Any:
    return taught.choice.ranks[taught.choice.ranker.used]


Teach = Callable[[Mapping[str, Vectors]], Taught]


def controls(teach: Teach, views: Mapping[str, Vectors], seed: int) -> dict[str, Taught | None]:
    """The ranker taught once more with shuffled views, and without any; None where it has nothing to learn from then,
    as no voice proposes an item that anybody takes next."""
    found: dict[str, Taught | None] = {}
    for name, given in ((SHUFFLED, shuffled(views, seed)), (WITHOUT, dict[str, Vectors]())):
        try:
            found[name] = teach(given)
        except BadInput:
            found[name] = None
    return found
