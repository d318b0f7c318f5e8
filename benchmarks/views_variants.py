"""Variants of the views of a shop, for `views_quality`: each alone, all but one, and spoilt in every way that there is.

variants_of(views)                     # {"text": [], "poster": ["poster"], "poster shuffled": [...], ...}
made("director rewired", views, seed)  # the view of that name
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.settings.views import RELATIONS, Control
from components.storage.vectors import Edges, Vectors, has
from components.views.control import rewired, taken_from
from components.views.edges import weighted

TEXT, ALL, SHUFFLED, REWIRED, ALONE = "text", "all views", " shuffled", " rewired", " alone"
CONTROLS: dict[str, Control] = {SHUFFLED: "shuffled", " constant": "constant", REWIRED: "rewired"}


def variants_of(views: Mapping[str, Vectors]) -> dict[str, list[str]]:
    """Variant -> its views: text has none; every view alone, and it spoilt; all, all but one, all shuffled; of each
    relation its edges alone, and all with its edges rewired."""
    names = list(views)
    found: dict[str, list[str]] = {TEXT: []}
    for name in names:
        spoilt = [name + control for control in CONTROLS if control != REWIRED or isinstance(views[name], Edges)]
        found |= {each: [each] for each in [name, *spoilt]}
    edges = views.get(RELATIONS)
    if isinstance(edges, Edges) and len(edges.names) > 1:
        found |= {f"{name}{how}": [f"{name}{how}"] for name in edges.names for how in (ALONE, REWIRED)}
    if len(names) > 1:
        found |= {ALL: names, f"{ALL}{SHUFFLED}": [name + SHUFFLED for name in names]}
    if len(names) > 2:  # of two views it is the other one alone
        found |= {f"all but {name}": [other for other in names if other != name] for name in names}
    return found


def made(name: str, views: Mapping[str, Vectors], seed: int) -> Vectors:
    """The spoilt view, or the part of the relations, that a variant is called."""
    own, _, how = name.rpartition(" ")
    edges = views.get(RELATIONS)
    if own in views and not isinstance(views[own], Edges):
        view = np.asarray(views[own])
        return np.asarray(view[taken_from(has(view), CONTROLS[f" {how}"], seed, own)])
    source = views.get(own, edges)
    assert isinstance(source, Edges)
    rows = np.repeat(np.arange(source.items), np.diff(source.indptr))
    triples = (rows, source.kinds[source.indices].astype(np.int64), source.indices)
    if f" {how}" == ALONE:
        kept = triples[1] == source.names.index(own)
        one = (rows[kept], np.zeros(int(kept.sum()), np.int64), source.indices[kept])
        return weighted(one, source.items, (own,))
    whole, control = own in views, CONTROLS[f" {how}"]
    each = {} if whole else {own: control}
    spoilt = rewired(triples, source.items, source.names, each, control if whole else None, seed)
    return weighted(spoilt, source.items, source.names)
