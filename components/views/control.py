"""Controls: the views of the items spoilt on purpose, to see what the real ones are worth.

A control keeps who has a view and who has none, so that only *what* it says is lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from components.sampling import derive
from components.settings.views import Control
from components.storage.vectors import exchanged
from components.views.edges import Triples


def taken_from(present: NDArray[np.bool_], control: Control | None, seed: int, name: str) -> NDArray[np.int64]:
    """[items] the item whose view each gets; itself without a control. shuffled: that of another one, drawn by the
    seed. constant: all that have one have that of the first."""
    rows = np.arange(len(present))
    having = np.flatnonzero(present)
    if control is None or len(having) < 2:
        return rows
    if control == "constant":
        rows[having] = having[0]
    else:
        return exchanged(present, derive(seed, "views", name))
    return rows


def rewired(
    triples: Triples, items: int, names: tuple[str, ...], controls: dict[str, Control], whole: Control | None, seed: int
) -> Triples:
    """Edges under a control for each relation, or one for all. rewired: the tails of a relation change places, so that
    every item and every tail keeps how many it has. shuffled, constant: as `taken_from`, by whole items."""
    rows, kinds, tails = (each.copy() for each in triples)
    if whole in ("shuffled", "constant"):
        return _moved((rows, kinds, tails), items, whole, seed, "relations")
    parts = []
    for number, name in enumerate(names):
        own = kinds == number
        part = (rows[own], kinds[own], tails[own])
        control = controls.get(name, whole)
        if control == "rewired":
            order = np.random.default_rng(derive(seed, "views", name)).permutation(int(own.sum()))
            part = (part[0], part[1], part[2][order])
        elif control is not None:
            part = _moved(part, items, control, seed, name)
        parts.append(part)
    joined = [np.concatenate(each) for each in zip(*parts, strict=True)] if parts else [rows, kinds, tails]
    return joined[0], joined[1], joined[2]


def _moved(triples: Triples, items: int, control: Control, seed: int, name: str) -> Triples:
    """Each item with the edges of the one it is `taken_from`."""
    rows, kinds, tails = triples
    present = np.bincount(rows, minlength=items) > 0
    source = taken_from(present, control, seed, name)
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(items + 1))
    owners = np.flatnonzero(present)
    lengths = (starts[1:] - starts[:-1])[source[owners]]
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    places = order[np.repeat(starts[:-1][source[owners]], lengths) + within]
    return np.repeat(owners, lengths), kinds[places], tails[places]
