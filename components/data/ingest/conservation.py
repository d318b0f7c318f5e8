"""Every raw record is kept, or set aside for a reason, and the two counts meet the count of the file."""

from __future__ import annotations

from typing import Any

from components.data.canonical.tables import RawFile
from components.errors import BadInput

CHOSEN = ("below_min_rating", "other_event", "behaviour_of_others", "other_relation", "head_is_no_item", "forgotten")
"""Reasons that the parameters ask for, or that are no fault of a record."""
TABLES = ("interactions", "items", "relations")
MERGED = ("equal", "conflicting")
"""Reasons by which a row of the item table is told by another one of the same id."""
_WORDS = {
    "missing_id": "have no id",
    "order_unknown": "are of users whose order is not known, as some times are missing",
    "below_min_rating": "are rated below ingest.min_rating",
    "other_event": "are of other kinds than ingest.events",
    "equal": "stand there twice",
    "conflicting": "contradict another row of their id (the longest text stayed)",
    "incomplete": "lack head, relation or tail",
    "behaviour_of_others": "tell what others did with the items, which ingest.relation_types has to name",
    "other_relation": "are of other relations than ingest.relation_types",
    "forgotten": "name what was deleted (idiom forget)",
    "head_is_no_item": "are of things that are no item of the catalogue",
}


def reconciled(file: RawFile, facts: dict[str, Any], *, kept: int) -> dict[str, Any]:
    """records = kept + set aside, by reason. Raises `BadInput` where the counts do not meet.

    `records` were counted in the file apart from its reader; where nothing could be counted, the rows read stand for
    it.
    """
    counted = facts["rows"] if file.records is None else file.records
    aside = dict(facts["set_aside"])
    if counted != facts["rows"] or facts["rows"] != kept + sum(aside.values()):
        raise BadInput(
            f"{counted:,} records stand in it, {facts['rows']:,} were read, {kept:,} kept and {sum(aside.values()):,} "
            f"set aside ({aside or 'for no reason'}): the counts do not meet",
            where=file.shown,
            mend="look for stray quotes and line ends in it, or save it anew (as Parquet, say); then tell us of it",
        )
    return {"records": counted, "kept": kept, "set_aside": aside, "such_as": facts["damaged_rows"]}


def share_set_aside(tables: dict[str, Any]) -> float:
    """Share of the raw records of a table, the largest of all tables, that say nothing and were set aside unasked."""
    shares = []
    for table in (name for name in TABLES if name in tables):
        aside = tables[table]["set_aside"]
        unasked = sum(count for reason, count in aside.items() if reason not in CHOSEN + MERGED)
        shares.append(unasked / max(tables[table]["records"], 1))
    return max(shares)


def in_words(report: dict[str, Any]) -> list[str]:
    """`12 of 320 interactions are set aside: 12 have no id (row 3, row 77).`"""
    lines = []
    for table in (name for name in TABLES if name in report["conservation"]):
        found = report["conservation"][table]
        if found["set_aside"]:
            reasons = ", ".join(f"{count:,} {_WORDS[reason]}" for reason, count in found["set_aside"].items())
            rows = f" ({', '.join(found['such_as'])})" if found["such_as"] else ""
            total = sum(found["set_aside"].values())
            lines.append(f"{total:,} of {found['records']:,} records of the {table} are set aside: {reasons}{rows}.")
    return lines
