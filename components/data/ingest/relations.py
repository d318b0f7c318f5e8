"""Raw triples -> the canonical relations: head (an item id), relation, tail; sorted, each once.

Relations that tell what others did are set aside unless they are asked for: a shop computes `also_bought` from all
purchases, those that a model will be tested on among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical.tables import RawFile
from components.data.canonical.views import RELATIONS, is_behaviour
from components.data.drops.forgotten import Forgotten
from components.data.ingest import ids, names, rawfiles, scanning
from components.errors import BadInput
from components.settings.params import Ingest

COLUMNS = tuple(RELATIONS)
ALIASES = {
    "head": ("head", "head_id", "subject", "source", "from", "h", "item_id"),
    "relation": ("relation", "relation_id", "predicate", "rel", "edge", "edge_type", "r"),
    "tail": ("tail", "tail_id", "object", "target", "to", "t"),
}


def columns(found: Sequence[str]) -> dict[str, str] | None:
    """head, relation and tail -> the columns that go by such names; None where the table is no table of triples."""
    by_folded = {names.folded(name): name for name in reversed(found)}
    taken = {
        name: next((by_folded[each] for each in aliases if each in by_folded), None)
        for name, aliases in ALIASES.items()
    }
    if len(found) > 6 or None in taken.values() or len(set(taken.values())) < len(taken):
        return None
    return {name: raw for name, raw in taken.items() if raw is not None}


def read(settings: Ingest, raw: Path, scratch: Path) -> tuple[pl.LazyFrame, RawFile]:
    """The triples of `ingest.relations` as text under canonical names, and their file. Raises `BadInput`."""
    paths = rawfiles.locate(raw, settings.relations, (), key="relations")
    frame, file = scanning.table(paths, scratch, key="relations", quoting=settings.quoting.get("relations"))
    found = frame.collect_schema().names()
    chosen = names.mapping_for(settings.columns, "relations")
    mapped = (columns(found) or {}) | {name: chosen[name] for name in COLUMNS if name in chosen}
    if lacking := [name for name in COLUMNS if mapped.get(name) not in found]:
        raise BadInput(
            f"it is no table of relations: no column for {', '.join(lacking)}; found: {', '.join(found)}",
            where=file.shown,
            mend="name the columns head, relation and tail, or map them in ingest.columns (relations.head: ...)",
        )
    scanning.require_plain(frame, mapped.values(), file)
    return frame.select(pl.col(raw_name).alias(name) for name, raw_name in mapped.items()), file


def canonical(
    raw: pl.LazyFrame, file: RawFile, settings: Ingest, *, items: pl.Series, forgotten: Forgotten | None = None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The relations, and facts for the report; `items`: ids of the catalogue. No tail is an item that is `forgotten`.

    `facts["set_aside"]`: reason -> rows that were read and are not among them. Raises `BadInput` for ids that are
    damaged or written otherwise than in the catalogue, and where a relation of `relation_types` is not there.
    """
    frame = scanning.collect(raw, file)
    facts: dict[str, Any] = {"rows": frame.height, "set_aside": {}, "damaged_rows": []}
    frame = frame.with_columns(
        ids.checked(frame["head"], file), pl.col("relation", "tail").cast(pl.String).str.strip_chars()
    )
    filled = [pl.col("head").is_not_null(), *(pl.col(name).fill_null("") != "" for name in COLUMNS[1:])]
    whole = pl.all_horizontal(filled)
    gone = frame.select((~whole).arg_true()).to_series()
    if len(gone) > settings.max_set_aside_share * frame.height:
        raise ids.missing(gone.to_list(), "head, relation or tail", file)
    facts["damaged_rows"] = [file.row(row) for row in gone.head(10).to_list()]
    frame = _aside(frame, "incomplete", whole, facts)
    heads = frame["head"].unique()
    ids.refuse_other_writing(heads.alias("item_id"), items, file.shown)
    there = frame["relation"].value_counts(sort=True)
    if missing := sorted(set(settings.relation_types or ()) - set(there["relation"])):
        raise BadInput(
            f"ingest.relation_types names {missing[0]!r}, which no row has",
            where=file.shown,
            mend=f"the relations there are {', '.join(there['relation'].head(20))}",
        )
    behaviour = [name for name in there["relation"] if is_behaviour(name)]
    if settings.relation_types is None:
        frame = _aside(frame, "behaviour_of_others", ~pl.col("relation").is_in(behaviour), facts)
    else:
        frame = _aside(frame, "other_relation", pl.col("relation").is_in(settings.relation_types), facts)
    frame = _aside(frame, "head_is_no_item", pl.col("head").is_in(items.implode()), facts)
    if forgotten is not None and (gone := forgotten.among("item", frame["tail"])).any():
        frame = _aside(frame, "forgotten", pl.lit(~gone), facts)
    frame = _aside(frame, "equal", pl.struct(COLUMNS).is_first_distinct(), facts)
    facts |= {
        "relations": frame.height,
        "by_relation": dict(
            frame["relation"].value_counts(sort=True).sort("count", "relation", descending=[True, False]).iter_rows()
        ),
        "behaviour_of_others": sorted(behaviour),
    }
    return frame.select(COLUMNS).sort(COLUMNS), facts


def _aside(frame: pl.DataFrame, reason: str, kept: pl.Expr, facts: dict[str, Any]) -> pl.DataFrame:
    left = frame.filter(kept)
    if left.height < frame.height:
        facts["set_aside"][reason] = frame.height - left.height
    return left
