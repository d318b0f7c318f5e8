"""Which mode answers by default: validation says, on users whom neither the language model nor the ranker learned from.

choice, report = choose_mode(engine, hybrid, held, Decoding(), most_users=1000, seed=17)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.progress import Progress
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.modes import Choice, mixed_lists, written_list
from components.ranking.training import K, gains, paired
from components.recommender.interface import Recommender
from components.settings.decoding import Decoding, Mode

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)
"""Of the language model, that are tried."""
_DAY = 86_400.0


def choose_mode(
    engine: Recommender,
    hybrid: Hybrid,
    held: Held,
    decoding: Decoding,
    *,
    most_users: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Choice, dict[str, Any]]:
    """The better one of `generate` and `rank`, or `hybrid` where it is clearly better than both; and the figures.

    At most `most_users` are asked. Raises `BadInput` as `recommend` does.
    """
    asked, catalogue = held.some(most_users, seed), engine.catalogue
    ids = catalogue.table.item_ids
    prompts = [[ids[item] for item in history] for history in asked.histories]
    found = engine.recommend(prompts, max(K, decoding.beams), decoding, progress)
    masked, items, start = catalogue.masks(decoding), len(catalogue.table), 0
    ranks: dict[str, list[np.ndarray]] = {}
    for block, ranked in hybrid.listed_blocks(asked.histories, asked.days):
        written = written_list(catalogue, found[start : start + len(block)])
        targets = asked.targets[start : start + len(block)]
        tried = {"generate": written, "rank": ranked} | {
            f"hybrid {share}": mixed_lists(ranked, written, share, users=len(block), items=items) for share in SHARES
        }
        for name, each in tried.items():
            excluded = block if masked else None
            ranks.setdefault(name, []).append(each.places(targets, items=items, excluded=excluded))
        start += len(block)
    gain = {name: gains(np.concatenate(each)) for name, each in ranks.items()}
    figures = {name: float(each.mean()) for name, each in gain.items()}
    alone: Mode = "generate" if figures["generate"] > figures["rank"] else "rank"
    share = max(SHARES, key=lambda each: figures[f"hybrid {each}"])
    over = paired(gain[f"hybrid {share}"] - gain[alone])
    report = {
        "users": len(asked.histories),
        "ndcg_at_10": figures,
        "hybrid_over_the_better_alone": {"ndcg_at_10": over[0], "interval": [over[1], over[2]]},
    }
    return Choice("hybrid" if over[1] > 0 else alone, share), report
