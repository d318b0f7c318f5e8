"""Whether spoilt views lose: what an ablation says by itself of every variant with a control.

said(results, partners(grid.cells()))      # ["'words' is better than 'words shuffled' (...): what is spoilt there ..."]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from components.evaluation.comparison.paired import paired
from components.evaluation.metrics import ndcg
from components.settings.params import Params
from flows.ablation.grid import Cell
from flows.ablation.pairs import pair
from flows.ablation.table import Result


def partners(cells: Sequence[Cell]) -> dict[str, str]:
    """Each variant with a control -> the one that is equal but for it, and has the real views; the first variant of the
    grid where there is none."""
    params = {cell.variant: cell.params for cell in reversed(cells)}  # of the first seed
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    found = {}
    for name in variants:
        if params[name].views.control:
            real = _uncontrolled(params[name])
            found[name] = next((each for each in variants if params[each] == real), variants[0])
    return found


def _uncontrolled(params: Params) -> Params:
    return replace(params, views=replace(params.views, control={}))


def said(results: Sequence[Result], partners: Mapping[str, str]) -> list[str]:
    """A line for each controlled variant that was judged beside its partner: NDCG of the users, the mean of each over
    the seeds that both have."""
    lines = []
    for name in dict.fromkeys(each.variant for each in results):
        real = partners.get(name, name)
        both = pair(results, real, name) if real != name else None
        if both is None:
            continue
        k = next(each.k for each in results if each.metrics)
        spoilt, own = (ndcg(ranks, k).mean(axis=0) for ranks in (both.of_other, both.of_one))
        found = paired(spoilt, own, seed=both.seeds[0])
        about = f"{found.difference:+.4f} NDCG@{k}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
        if both.left_out:
            about += f"; {both.left_out:,} users are not in both and are left out"
        if found.low > 0:
            lines.append(f"{real!r} is better than {name!r} ({about}): what is spoilt there says something.")
        else:
            word = "is WORSE than" if found.high < 0 else "cannot be told from"
            lines.append(f"{real!r} {word} {name!r} ({about}): no gain by what is spoilt there is real.")
    return lines
