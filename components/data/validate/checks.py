"""The checks of `validate`: name, suite, severity, meaning of each, and how to mend what it finds.

This table is the one place that names them; docs/checks.md shows it to people. What a check measures is computed in
`checks_catalogue`, `checks_interactions` and `leakage`; what passes is asserted by Great Expectations (`expectations`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from components.errors import BadInput
from components.settings.params import Severity

ROWS_SHOWN = 10
"""A verdict names at most this many offending rows per check."""

Suite = Literal["catalogue", "interactions", "leakage", "views", "ID table", "drop"]
SUITES: tuple[Suite, ...] = ("catalogue", "interactions", "leakage")
"""Those of `validate`, and `views` where there are some; the ID table's is run by `index`, the drop's by `idiom ingest
--append`."""


@dataclass(frozen=True)
class Check:
    """One question to the data."""

    name: str
    suite: Suite
    severity: Severity
    meaning: str
    """What is asked and why it matters, one sentence or two."""
    mend: str
    """What to do where it fails."""
    column: str = ""
    """Table and column that it looks at."""


@dataclass(frozen=True)
class Measured:
    """The result of a check: a number, and the bound that it has to keep."""

    observed: float | None
    """A count or a share; None where the check is skipped."""
    threshold: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Offending rows, at most `ROWS_SHOWN`."""
    at_least: bool = False
    """`threshold` is the smallest good value; otherwise the largest."""
    skipped: str | None = None
    """Why the check could not be made."""
    said: str | None = None
    """What was found, in figures, for people."""
    count: int | None = None
    """Rows that break the check, where they can be counted."""
    of: int | None = None
    """All rows that were looked at."""
    unit: str = "rows"
    """What a row is: items, interactions, users."""


def skipped(threshold: float, why: str) -> Measured:
    """A check that this data cannot answer; it neither passes nor fails."""
    return Measured(observed=None, threshold=threshold, skipped=why)


def _catalogue() -> list[Check]:
    return [
        Check(
            "item_ids_present",
            "catalogue",
            "critical",
            "Every catalogue row has an item id; without one no interaction can mean it.",
            "Fill or remove the rows named; check which raw column ingest.columns maps to item_id.",
            column="items.item_id",
        ),
        Check(
            "item_ids_unique",
            "catalogue",
            "critical",
            "No item id stands in two catalogue rows: an item has one text and gets one textual ID.",
            "Keep one row per item id in the raw item table.",
            column="items.item_id",
        ),
        Check(
            "enough_items",
            "catalogue",
            "critical",
            "At least validate.min_items items of the catalogue are interacted with; fewer cannot be told apart.",
            "Bring more data, or lower validate.min_items.",
            column="items.item_id",
        ),
        Check(
            "items_have_text",
            "catalogue",
            "critical",
            "Items that someone interacted with have some text: textual IDs are written from it.",
            "Map the text columns in ingest.columns, or raise validate.max_missing_text_share: "
            "items without text get an ID from their item id, which carries no meaning.",
            column="items, its text columns",
        ),
        Check(
            "titles_present",
            "catalogue",
            "warning",
            "Items that someone interacted with have a title: the best part of the text, and what people are shown.",
            "Fill the titles, or map the right raw column in ingest.columns.",
            column="items.title",
        ),
        Check(
            "titles_short",
            "catalogue",
            "info",
            "Titles longer than 300 characters are rare; long ones are keyword lists, and `clean` cuts them.",
            "Nothing to do, or lower clean.max_field_chars.",
            column="items.title",
        ),
        Check(
            "text_without_markup",
            "catalogue",
            "info",
            "Few texts hold HTML entities or tags; `clean` resolves them, but many say that the export is raw.",
            "Nothing to do: `clean` unescapes and strips them.",
            column="items, its text columns",
        ),
    ]


def _interactions() -> list[Check]:
    return [
        Check(
            "records_accounted_for",
            "interactions",
            "critical",
            "Every raw record is in the canonical tables, or `ingest` has set it aside for a reason; few say nothing "
            "(no id, no order). What ingest.min_rating and ingest.events leave out is not counted.",
            "Look at conservation in the report of `ingest`, which names rows; mend the export, or raise "
            "ingest.max_set_aside_share.",
            column="the raw files",
        ),
        Check(
            "interaction_ids_present",
            "interactions",
            "critical",
            "Every interaction has a user id and an item id.",
            "Remove the rows named from the raw table, or repair the join that made them.",
            column="interactions.user_id, item_id",
        ),
        Check(
            "enough_users",
            "interactions",
            "critical",
            "At least validate.min_users users: with fewer nothing can be learned or compared.",
            "Bring more data, or lower validate.min_users.",
            column="interactions.user_id",
        ),
        Check(
            "positions_contiguous",
            "interactions",
            "critical",
            "Positions of a user run 0, 1, 2, ... without gap or repeat: they are the order of the history.",
            "Run ingest again; if the raw table brings its own positions, number them from 0 within each user.",
            column="interactions.position",
        ),
        Check(
            "items_in_catalogue",
            "interactions",
            "critical",
            "Nearly all interactions are with items of the catalogue; many that are not mean that the two tables "
            "write ids differently or belong to different days.",
            "Compare the ids of both raw tables (case, prefixes, leading zeros); bring the missing items.",
            column="interactions.item_id",
        ),
        Check(
            "no_orphans",
            "interactions",
            "warning",
            "Each interaction is with an item of the catalogue; `clean` drops those that are not.",
            "Bring the missing items, or accept the loss; the report of `clean` counts it as unknown_item.",
            column="interactions.item_id",
        ),
        Check(
            "times_complete",
            "interactions",
            "warning",
            "Every interaction has a time; what depends on time is skipped where it is missing, never guessed.",
            "Map the time column in ingest.columns; if there is none, use clean.split: leave-one-out.",
            column="interactions.timestamp",
        ),
        Check(
            "times_plausible",
            "interactions",
            "critical",
            "Times lie between 1990 and tomorrow; others are a wrong unit (seconds read as milliseconds) or "
            "placeholders, and put histories in a wrong order.",
            "Check the unit and the column of the time in ingest.columns. Where times really count from another zero, "
            "say so with validate.severities: {times_plausible: warning}.",
            column="interactions.timestamp",
        ),
        Check(
            "histories_long_enough",
            "interactions",
            "warning",
            "Most users have the three interactions that training, validation and test need; `clean` drops the others.",
            "Bring a longer period, or accept the loss; the report of `clean` counts it as k_core.",
            column="interactions.user_id",
        ),
    ]


def _leakage() -> list[Check]:
    return [
        Check(
            "time_goes_forward",
            "leakage",
            "critical",
            "Within a user no interaction is earlier than the one before it; otherwise the model is trained on what "
            "happened after its target.",
            "Drop the position column of the raw table, so that ingest orders by time; or correct the times.",
            column="interactions.timestamp",
        ),
        Check(
            "not_sorted_by_item_code",
            "leakage",
            "critical",
            "Histories are not sorted by item id. If they are, the next item is the next code: figures look splendid "
            "and mean nothing (the Sports and Toys sequences released with P5 and IDGenRec are made so).",
            "Take the sequences in the order in which they happened, from the source with times. If the ids really "
            "follow time, say so with validate.severities: {not_sorted_by_item_code: warning}.",
            column="interactions.item_id",
        ),
        Check(
            "no_interaction_in_two_splits",
            "leakage",
            "critical",
            "The same event (user, item and time) does not stand in two of training, validation and test. Up to 1 % "
            "of users is passed; more means that the table was exported or joined twice. A visitor who comes back to "
            "an item within a session of one time is no such event.",
            "Remove the doubled rows from the raw interactions.",
            column="interactions.user_id, item_id, timestamp",
        ),
        Check(
            "target_not_in_history",
            "leakage",
            "warning",
            "The last item of a user does not occur earlier in the history; where it does, copying is enough.",
            "Where people buy again, set clean.drop_repeats to false: `evaluate` then reports repeated and new items "
            "apart. Otherwise nothing: `clean` drops repeats.",
            column="interactions.item_id",
        ),
        Check(
            "no_duplicate_items",
            "leakage",
            "warning",
            "No two items have the same text; a target that stands in the history under another id is a hidden repeat.",
            "Nothing to do with clean.merge_duplicates (the default); give real variants text that tells them apart.",
            column="items, its text columns",
        ),
        Check(
            "few_cold_targets",
            "leakage",
            "warning",
            "Few last items are cold (in no other user's earlier history): no model can have learned who wants them.",
            "Bring a longer period, raise clean.min_item_interactions, or raise validate.max_cold_target_share.",
            column="interactions.item_id",
        ),
        Check(
            "few_ties_in_time",
            "leakage",
            "warning",
            "Few users have their last two items at the same time; where they do, the target is an arbitrary choice.",
            "Bring finer times than days, or say with clean.ties what the order of a tie is (shuffle: drawn; set: any "
            "item of the last time is right); or raise validate.max_tie_share.",
            column="interactions.timestamp",
        ),
        Check(
            "ties_in_no_order",
            "leakage",
            "warning",
            "Interactions of a user at the same time stand in no order. Where they stand in that of the item ids, the "
            "next item is the next id: a model that learns it is paid for it, in training and in the target, and its "
            "figures are worth less in a shop than they say (docs/ties.md).",
            "Set clean.ties: shuffle, which draws the order (idiom init does so), or set. clean.ties: file keeps the "
            "file's order, which is what papers on the Amazon sets have.",
            column="interactions.timestamp, item_id",
        ),
        Check(
            "core_without_targets",
            "leakage",
            "warning",
            "The file is no k-core over its targets: where every item has k interactions, those with fewer in training "
            "must be somebody's target, and whoever counts knows it. Observed is the share of last items whose item "
            "has fewer than k earlier interactions.",
            "Set clean.core: training and clean.min_item_interactions to k at least, or look at the slice of targets "
            "with k training interactions, which evaluate reports. clean.core: all is what papers have.",
            column="interactions.item_id",
        ),
    ]


def _views() -> list[Check]:
    return [
        Check(
            "relations_say_nothing_of_others",
            "views",
            "critical",
            "No relation tells what others did with the items (also_bought, bought_together): such a table "
            "is made from all purchases, those of the test among them, so that figures with it cannot be trusted.",
            "Leave them out of ingest.relation_types. If it is known to be made of earlier events alone, say so with "
            "validate.severities: {relations_say_nothing_of_others: warning}.",
            column="relations.relation",
        ),
        Check(
            "relations_of_most_items",
            "views",
            "warning",
            "Most items that someone interacted with have a relation.",
            "Bring the missing ones, or raise validate.max_missing_view_share.",
            column="relations.head",
        ),
        Check(
            "tails_in_catalogue",
            "views",
            "warning",
            "A relation whose tails are mostly items names items of the catalogue.",
            "Compare how both tables write ids; bring the missing items.",
            column="relations.tail",
        ),
        Check(
            "no_hub_of_most_items",
            "views",
            "info",
            "No tail of a relation is that of most items: it tells none of them apart.",
            "Nothing to do: rare tails weigh more. Or leave the relation out of ingest.relation_types.",
            column="relations.tail",
        ),
        Check(
            "media_readable",
            "views",
            "warning",
            "Every picture and sound can be read; one that cannot is left out, and counts as missing.",
            "Get whole copies of the files named, or raise max_bytes or max_pixels of the medium.",
            column="media.file",
        ),
        Check(
            "media_of_most_items",
            "views",
            "warning",
            "Most items that someone interacted with have each view that is named in ingest.media.",
            "Compare the names of the files with the item ids; bring the missing ones, or raise "
            "validate.max_missing_view_share.",
            column="media.item_id",
        ),
        Check(
            "media_differ",
            "views",
            "info",
            "Few items share one and the same file: a picture of `no picture` tells none of them apart.",
            "Remove the files that stand for a missing picture.",
            column="media.file",
        ),
    ]


VIEW_CHECKS: dict[str, Check] = {check.name: check for check in _views()}
"""Asked only where there are relations or media, so that a shop without any has the verdict that it always had."""
CHECKS: dict[str, Check] = {check.name: check for check in [*_catalogue(), *_interactions(), *_leakage()]}


def severities(overrides: dict[str, Severity]) -> dict[str, Severity]:
    """Severity of every check. Raises `BadInput` for an override that names no check."""
    known = CHECKS | VIEW_CHECKS
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise BadInput(
            f"unknown check {', '.join(unknown)}",
            where="params.yaml: validate.severities",
            mend=f"the checks are {', '.join(known)}",
        )
    return {name: overrides.get(name, check.severity) for name, check in known.items()}
