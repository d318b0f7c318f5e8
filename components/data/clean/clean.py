"""Canonical tables -> item texts, training histories, validation targets and test targets.

    python -m components clean

The order of the steps matters and is this:
1. Texts of items that anyone touched are scrubbed. Interactions without id or with an item that the catalogue lacks go.
2. Items that are the same in all their text become one; then a user's repeats of an item go.
3. k-core to the fixed point, over what is left.
4. Users are sampled *after* the k-core, with every item they touch. The other way round the core of a small sample is
   nearly empty (few items are met five times by few users), and the number of users would be anyone's guess.
5. Ties in time are put in order, as `clean.ties` says; split.

With `clean.core: training` the split comes before the k-core, which counts its training part (`training_core`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical import coded
from components.data.clean import itemtext, numbering, split, ties, viewwords
from components.data.clean.kcore import few_in_training, k_core, training_core
from components.data.clean.ledger import Ledger
from components.data.clean.orders import Orders
from components.errors import BadInput, GateRefused
from components.sampling import hash_sample
from components.settings import params
from components.storage.artifacts import publish_json, publishing_together, read_json
from components.storage.layout import Layout


def clean(settings: params.Clean, seed: int, layout: Layout) -> dict[str, Any]:
    """Write items_clean, histories, valid_targets, test_targets, the other order, aliases and the report; return the
    report.

    Raises `GateRefused` where the verdict of `validate` is missing a pass, `BadInput` where nothing would be left or no
    item has any text. Nothing is written then.
    """
    _need_pass(layout.verdict)
    interactions = coded.read(layout.interactions)
    touched, spoken = viewwords.added(_touched(layout.items, interactions), layout.view_words)
    items, text_report = itemtext.scrub_columns(touched, settings.boilerplate_share)
    texts, text_report["origin"] = itemtext.with_text(items, settings, also=spoken)
    hashes = numbering.hashes(items, seed)

    rows, ledger = _known(interactions, layout.items, items["item_id"])
    aliases = itemtext.aliases(items if settings.merge_duplicates else items.clear())
    rows = ledger.step("merged_duplicate", _merge(rows, interactions.items, aliases))
    if settings.drop_repeats:
        rows = ledger.step("repeat", rows.filter(_pair().is_first_distinct()))
    core = {"per_user": settings.min_user_interactions, "per_item": settings.min_item_interactions}
    if settings.core == "all":
        rows, passes = k_core(rows, **core)
        _need_rows(ledger.step("k_core", rows), ledger, settings, layout)
        rows = _sampled(rows, interactions.users, settings.sample_users, seed, ledger)
    cuts = split.find_cuts(rows, settings.valid_from, settings.test_from) if settings.split == "global-time" else None
    orders = Orders(rows, settings.ties, cuts, ties.Draw.of(interactions.users, interactions.items, hashes, seed))
    parted, other = orders.parted, orders.other
    for part in split.PARTS:
        if part not in split.USED:
            parted = ledger.step(part, parted.filter(pl.col("part") != part))
    if settings.core == "training":
        parted, passes = training_core(parted, **core)
        _need_rows(ledger.step("k_core", parted), ledger, settings, layout)
        parted = _sampled(parted, interactions.users, settings.sample_users, seed, ledger)
        trained = parted.filter(pl.col("part") == "history").select("user", "item")
        parted = ledger.step("not_in_training", split.within(parted, trained))
        other = split.within(other, trained)

    counts = {part: parted.filter(pl.col("part") == part).height for part in split.USED}
    _need_targets(counts, settings)
    dates = {"valid_from": str(cuts.valid_from.date()), "test_from": str(cuts.test_from.date())} if cuts else {}
    report = {
        **ledger.report(),
        "k_core_passes": passes,
        "text": text_report,
        "split": {"name": settings.split, **dates, "interactions": counts},
        "ties": {
            "order": settings.ties,
            "users_at_one_time": orders.at_one_time,
            "users_otherwise": other["user"].n_unique(),
        },
        "core": {"counts": settings.core, **few_in_training(parted, settings.min_item_interactions)},
    }
    report["in_words"] = in_words(report)
    numbered = texts.join(hashes, on="item_id", how="left", maintain_order="left").sort("by_text", "by_id")
    _publish(parted, other, interactions, numbered.drop("by_text", "by_id"), aliases, report, layout)
    return report


def in_words(report: Mapping[str, Any]) -> list[str]:
    """What a person has to know of the ties and the core that were chosen, one line each."""
    lines, targets = [], report["interactions"]["removed"].get("not_in_training", 0)
    if users := report["ties"]["users_at_one_time"]:
        lines.append(
            f"{users:,} users have their whole history at one time, so that nothing is earlier: they are in the "
            "training and not in the test (clean.ties: set)."
        )
    if targets:
        lines.append(
            f"{targets:,} held-out interactions are with items outside the training core and are set aside "
            "(clean.core: training)."
        )
    return lines


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


def _sampled(rows: pl.DataFrame, user_ids: pl.Series, size: int, seed: int, ledger: Ledger) -> pl.DataFrame:
    """The rows of `size` users (0: all) with the smallest hash of seed and id: the same on every machine and version.

    A user stays in the sample when others join the shop, unless one of them hashes lower.
    """
    if not size:
        return rows
    users = rows["user"].unique()
    blake2b = functools.partial(hashlib.blake2b, digest_size=8)
    chosen = users.gather(hash_sample(user_ids.gather(users).to_list(), size, f"{seed}:", algorithm=blake2b))
    return ledger.step("not_sampled", rows.filter(pl.col("user").is_in(chosen.implode())))


def _need_targets(counts: dict[str, int], settings: params.Clean) -> None:
    if counts["valid"] and counts["test"]:
        return
    raise BadInput(
        f"the {settings.split} split leaves {counts['valid']} validation and {counts['test']} test targets",
        where="params.yaml: clean.split",
        mend="choose other dates, or another split; a target needs a user with a training history",
    )


def _publish(
    rows: pl.DataFrame,
    other: pl.DataFrame,
    interactions: coded.Coded,
    texts: pl.DataFrame,
    aliases: pl.DataFrame,
    report: dict[str, Any],
    layout: Layout,
) -> None:
    """Write the tables with ids in place of codes: items in the order of `texts`, users and aliases by id."""
    kept = interactions.items.gather(rows["item"].unique().sort())
    outputs = {
        layout.items_clean: texts.lazy().filter(pl.col("item_id").is_in(kept.implode())),
        layout.histories: _tables(rows, interactions)["histories"],
        layout.valid_targets: _tables(rows, interactions)["valid_targets"],
        layout.test_targets: _tables(rows, interactions)["test_targets"],
        layout.aliases: aliases.lazy().filter(pl.col("kept_id").is_in(kept.implode())),
    }
    with publishing_together(*outputs, layout.other_order, layout.clean_report) as (*tables_to, other_to, report_to):
        for table, path in zip(outputs.values(), tables_to, strict=True):
            table.sink_parquet(path, engine="streaming")
        other_to.mkdir()
        for name, table in _tables(other, interactions).items():
            table.sink_parquet(other_to / f"{name}.parquet", engine="streaming")
        publish_json(report_to, report)


def _tables(rows: pl.DataFrame, interactions: coded.Coded) -> dict[str, pl.LazyFrame]:
    """The three tables of rows with parts, with ids in place of codes, by the names of their files."""
    named = rows.with_columns(item=interactions.items.gather(rows["item"]))
    user_id = pl.lit(interactions.users).gather("user").alias("user_id")
    columns = ["context", "target", "context_timestamps", "timestamp", "also"]
    return {
        "histories": split.histories(named).select(user_id, "history", "timestamps"),
        "valid_targets": split.targets(named, "valid").select(user_id, *columns),
        "test_targets": split.targets(named, "test").select(user_id, *columns),
    }
