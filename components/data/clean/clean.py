"""Canonical tables -> item texts, training histories, validation targets and test targets.

    python -m components clean

The order of the steps matters and is this:
1. Texts of items that anyone touched are scrubbed. Interactions without id or with an item that the catalogue lacks go.
2. Items that are the same in all their text become one; then a user's repeats of an item go.
3. k-core to the fixed point, over what is left.
4. Users are sampled *after* the k-core, with every item they touch. The other way round the core of a small sample is
   nearly empty (few items are met five times by few users), and the number of users would be anyone's guess.
5. Split.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical import coded
from components.data.clean import itemtext, split
from components.data.clean.kcore import k_core
from components.data.clean.ledger import Ledger
from components.errors import BadInput, GateRefused
from components.sampling import hash_sample
from components.settings import params
from components.storage.artifacts import publish_json, publishing_together, read_json
from components.storage.layout import Layout


def clean(settings: params.Clean, seed: int, layout: Layout) -> dict[str, Any]:
    """Write items_clean, histories, valid_targets, test_targets, aliases and the report; return the report.

    Raises `GateRefused` where the verdict of `validate` is missing a pass, `BadInput` where nothing would be left or no
    item has any text. Nothing is written then.
    """
    _need_pass(layout.verdict)
    interactions = coded.read(layout.interactions)
    items, text_report = itemtext.scrub_columns(_touched(layout.items, interactions), settings.boilerplate_share)
    texts, text_report["origin"] = itemtext.with_text(items, settings)

    rows, ledger = _known(interactions, layout.items, items["item_id"])
    aliases = itemtext.aliases(items if settings.merge_duplicates else items.clear())
    rows = ledger.step("merged_duplicate", _merge(rows, interactions.items, aliases))
    if settings.drop_repeats:
        rows = ledger.step("repeat", rows.filter(_pair().is_first_distinct()))
    rows, passes = k_core(rows, per_user=settings.min_user_interactions, per_item=settings.min_item_interactions)
    _need_rows(ledger.step("k_core", rows), ledger, settings, layout)
    if settings.sample_users:
        chosen = _sample(rows["user"].unique(), interactions.users, settings.sample_users, seed)
        rows = ledger.step("not_sampled", rows.filter(pl.col("user").is_in(chosen.implode())))
    rows, split_report = _split(rows, settings, ledger)

    report = {**ledger.report(), "k_core_passes": passes, "text": text_report, "split": split_report}
    _publish(rows, interactions, texts, aliases, report, layout)
    return report


def _need_pass(path: Path) -> None:
    """Raise `GateRefused` where the verdict of `validate` does not say that the data passed."""
    verdict = read_json(path)
    if not isinstance(verdict, dict) or verdict.get("passed") is not True:
        failed = verdict.get("critical_failures") if isinstance(verdict, dict) else None
        failed = [str(each) for each in failed] if isinstance(failed, list) else []
        raise GateRefused(
            f"validation did not pass: {', '.join(failed) or 'the verdict holds no pass'}",
            where=str(path),
            mend="mend what it names, or lower that check in validate.severities; then run validate again",
        )


def _touched(path: Path, interactions: coded.Coded) -> pl.DataFrame:
    """Catalogue rows that an interaction names, one per id (the first), sorted by id.

    The others are not worth the scrubbing: they cannot stay.
    """
    catalogue = coded.scan(path, {"item_id": pl.String})
    touched = interactions.items.to_frame().lazy()
    rows = coded.collect(catalogue.join(touched, on="item_id", how="semi", maintain_order="left"), path)
    return rows.unique("item_id", keep="first", maintain_order=True).sort("item_id")


def _known(interactions: coded.Coded, catalogue: Path, item_ids: pl.Series) -> tuple[pl.DataFrame, Ledger]:
    """Rows with both ids whose item is in the catalogue, and the ledger with all that left until here."""
    ids = pl.scan_parquet(catalogue).select(
        rows=pl.len(), with_id=pl.col("item_id").count(), distinct=pl.col("item_id").drop_nulls().n_unique()
    )
    counts = coded.collect(ids, catalogue).row(0, named=True)
    rows = interactions.rows
    ledger = Ledger(interactions=rows.height, users=len(interactions.users), items=counts["rows"])
    ledger.book("missing_id", items=counts["with_id"])
    ledger.book("repeated_id", items=counts["distinct"])

    rows = rows.drop_nulls(["user", "item"])
    ledger.book("missing_id", interactions=rows.height, users=rows["user"].n_unique())
    known = interactions.items.is_in(item_ids.implode())
    rows = rows.filter(pl.lit(known).gather("item"))
    ledger.book("unknown_item", interactions=rows.height, users=rows["user"].n_unique())
    ledger.book("never_touched", items=rows["item"].n_unique())
    return rows, ledger


def _merge(rows: pl.DataFrame, item_ids: pl.Series, aliases: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the code of every merged item replaced by the one of the item that stays."""
    kept = item_ids.to_frame().join(aliases, on="item_id", how="left", maintain_order="left")
    codes = kept.select(
        pl.coalesce("kept_id", "item_id").cast(pl.Enum(item_ids)).to_physical().cast(pl.UInt32)
    ).to_series()
    return rows.with_columns(item=pl.lit(codes).gather("item"))


def _pair() -> pl.Expr:
    """One number for a user and an item: comparing numbers is several times faster than comparing structs."""
    return pl.col("user").cast(pl.UInt64) * 2**32 + pl.col("item")


def _need_rows(rows: pl.DataFrame, ledger: Ledger, settings: params.Clean, layout: Layout) -> None:
    if rows.height:
        return
    raise BadInput(
        f"nothing is left after the k-core: {ledger}",
        where=str(layout.interactions),
        mend=f"lower clean.min_user_interactions (now {settings.min_user_interactions}) or "
        f"clean.min_item_interactions (now {settings.min_item_interactions})",
    )


def _sample(users: pl.Series, user_ids: pl.Series, size: int, seed: int) -> pl.Series:
    """The codes of the `size` users with the smallest hash of seed and id: the same users on every machine and version.

    A user stays in the sample when others join the shop, unless one of them hashes lower.
    """
    blake2b = functools.partial(hashlib.blake2b, digest_size=8)
    return users.gather(hash_sample(user_ids.gather(users).to_list(), size, f"{seed}:", algorithm=blake2b))


def _split(rows: pl.DataFrame, settings: params.Clean, ledger: Ledger) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Add the part of the split to each row, drop rows that no output holds; also the facts of the split."""
    cuts = split.find_cuts(rows, settings.valid_from, settings.test_from) if settings.split == "global-time" else None
    rows = split.with_parts(rows, cuts)
    for part in split.PARTS:
        if part not in split.USED:
            rows = ledger.step(part, rows.filter(pl.col("part") != part))
    counts = {part: rows.filter(pl.col("part") == part).height for part in split.USED}
    if not (counts["valid"] and counts["test"]):
        raise BadInput(
            f"the {settings.split} split leaves {counts['valid']} validation and {counts['test']} test targets",
            where="params.yaml: clean.split",
            mend="choose other dates, or another split; a target needs a user with a training history",
        )
    dates = {"valid_from": str(cuts.valid_from.date()), "test_from": str(cuts.test_from.date())} if cuts else {}
    return rows, {"name": settings.split, **dates, "interactions": counts}


def _publish(
    rows: pl.DataFrame,
    interactions: coded.Coded,
    texts: pl.DataFrame,
    aliases: pl.DataFrame,
    report: dict[str, Any],
    layout: Layout,
) -> None:
    """Write the tables with ids in place of codes, sorted by id."""
    kept = interactions.items.gather(rows["item"].unique().sort())
    items = texts.lazy().filter(pl.col("item_id").is_in(kept.implode()))
    named = rows.with_columns(item=interactions.items.gather(rows["item"]))
    user_id = pl.lit(interactions.users).gather("user").alias("user_id")
    target = ("context", "target", "context_timestamps", "timestamp")
    outputs = {
        layout.items_clean: items,
        layout.histories: split.histories(named).select(user_id, "history", "timestamps"),
        layout.valid_targets: split.targets(named, "valid").select(user_id, *target),
        layout.test_targets: split.targets(named, "test").select(user_id, *target),
        layout.aliases: aliases.lazy().filter(pl.col("kept_id").is_in(kept.implode())),
    }
    with publishing_together(*outputs, layout.clean_report) as (*tables_to, report_to):
        for table, path in zip(outputs.values(), tables_to, strict=True):
            table.sink_parquet(path, engine="streaming")
        publish_json(report_to, report)
