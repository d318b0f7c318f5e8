"""The stage `validate`: checks the canonical tables and writes verdict.json, the page of it, and Data Docs.

    python -m components validate

Polars measures, Great Expectations asserts and documents. The verdict is read by `clean`, which refuses data that did
not pass, and a failed critical check stops the graph here with exit code 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from components.data.canonical import coded
from components.data.clean.itemtext import same_text, text_columns
from components.data.validate import checks_catalogue, checks_interactions, checks_views, leakage
from components.data.validate.checks import CHECKS, VIEW_CHECKS, Check, Measured, severities
from components.data.validate.expectations import NOTE, assert_and_document, describe
from components.data.validate.page import page
from components.errors import BadInput, GateRefused
from components.pages.stamp import stamped
from components.settings import params
from components.storage.artifacts import publish_json, publishing_together, read_json
from components.storage.layout import Layout

_NOTE = f'{NOTE} What was found in the tables stands in <a href="{{up}}../report.html">the page beside it</a>.'


def validate(
    settings: params.Validate,
    layout: Layout,
    cleaning: params.Clean | None = None,
    *,
    made: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Publish the verdict, its page and Data Docs, and return the verdict (docs/checks.md lists the checks).

    made: date and commit, for the page of data that are refused: no stage follows that could stamp it, and the graph
    keeps no output of a stage that failed, so that no bytes have to be equal.

    cleaning: what `clean` will do about ties, the k-core and repeats; a check whose mend it has taken is skipped, and
    where people buy again a repeat is no leak.

    Raises `BadInput` where there is nothing to judge (one user, one item, no text) or a setting names no check; nothing
    is written then. Raises `GateRefused`, after publishing, where a critical check fails.
    """
    severity = severities(settings.severities)
    items = coded.collect(coded.scan(layout.items, {"item_id": pl.String}), layout.items)
    interactions = coded.read(layout.interactions)
    measured, touched = checks_catalogue.measure(items, interactions, settings)
    _need_something_to_judge(interactions, touched, layout)
    measured |= checks_interactions.measure(interactions, items["item_id"], settings, _conservation(layout))
    measured |= leakage.measure(interactions, touched, settings, cleaning or params.Clean())
    measured |= checks_views.measure(layout, touched["item_id"], items["item_id"], settings)
    asked = {name: check for name, check in (CHECKS | VIEW_CHECKS).items() if name in measured or name in CHECKS}

    with publishing_together(layout.data_docs, layout.validation, layout.verdict) as (site, page_to, verdict_to):
        passed = assert_and_document(measured, asked, severity, site, note=_NOTE)
        verdict = verdict_of(measured, severity, passed, asked) | {"facts": _facts(interactions, items)}
        verdict["in_words"] = in_words(verdict)
        text = page(verdict, dataset=layout.dataset)
        page_to.write_text(stamped(text, made) if made and not verdict["passed"] else text, encoding="utf-8")
        publish_json(verdict_to, verdict)
    if not verdict["passed"]:
        raise refusal(
            verdict, where=f"{layout.items} and {layout.interactions}; the whole verdict: {layout.validation}"
        )
    return verdict


def in_words(verdict: Mapping[str, Any]) -> list[str]:
    """The warnings of a verdict, one line each: `name: what is asked. Observed 0.3, at most 0.2. Mend: ...`."""
    lines = []
    for check in verdict["checks"]:
        if check["name"] in verdict["warnings"]:
            lines.append(f"{check['name']}: {check['meaning']} {describe(_measured(check))} Mend: {check['mend']}")
    return lines


def _conservation(layout: Layout) -> dict[str, Any] | None:
    """What the report of `ingest` says of raw records; tables that were made in another way have none."""
    if not layout.ingest_report.is_file():
        return None
    report = read_json(layout.ingest_report)
    found = report.get("conservation") if isinstance(report, dict) else None
    if not isinstance(found, dict):
        mend = "run `python -m components ingest`, which writes it"
        raise BadInput("it says nothing of the raw records", where=str(layout.ingest_report), mend=mend)
    return found


def _need_something_to_judge(interactions: coded.Coded, touched: pl.DataFrame, layout: Layout) -> None:
    """Raise `BadInput` for data with fewer than two users, items or texts: no severity could excuse that."""
    users, item_count = len(interactions.users), touched["item_id"].n_unique()
    if users < 2 or item_count < 2:
        raise BadInput(
            f"the data has {users} user(s) and {item_count} catalogue item(s) with interactions; "
            "learning and comparing need two of each",
            where=str(layout.interactions),
            mend="bring more data; if it is there, compare the ids of both raw tables and check ingest.columns",
        )
    if checks_catalogue.without_text(touched).height == touched.height:
        raise BadInput(
            f"no item has any text (columns: {', '.join(touched.columns)})",
            where=str(layout.items),
            mend="map the text columns of the raw item table in ingest.columns; textual IDs are written from them",
        )
    texts = touched.select(text=same_text(text_columns(touched), touched.schema))["text"]
    if texts.n_unique() == 1:
        raise BadInput(
            f"all {item_count} items have the same text, so they are all the same item",
            where=str(layout.items),
            mend="bring text that tells items apart, or check which raw columns ingest.columns maps",
        )


def verdict_of(
    measured: Mapping[str, Measured],
    severity: Mapping[str, params.Severity],
    passed: Mapping[str, bool],
    asked: Mapping[str, Check],
) -> dict[str, Any]:
    """What was found by each check of `asked`; `passed` where no critical one failed."""
    checks = [
        {
            "name": name,
            "suite": check.suite,
            "severity": severity[name],
            "passed": passed[name],
            "skipped": measured[name].skipped,
            "observed": measured[name].observed,
            "threshold": measured[name].threshold,
            "bound": "at least" if measured[name].at_least else "at most",
            "said": measured[name].said,
            "count": measured[name].count,
            "of": measured[name].of,
            "unit": measured[name].unit,
            "found": describe(measured[name]),
            "column": check.column,
            "rows": measured[name].rows,
            "meaning": check.meaning,
            "mend": check.mend,
        }
        for name, check in asked.items()
    ]
    failures = {
        level: [check["name"] for check in checks if check["severity"] == level and not check["passed"]]
        for level in ("critical", "warning")
    }
    return {
        "passed": not failures["critical"],
        "critical_failures": failures["critical"],
        "warnings": failures["warning"],
        "checks": checks,
    }


def _facts(interactions: coded.Coded, items: pl.DataFrame) -> dict[str, Any]:
    """Counts and times of the data for the verdict; shares are of users."""
    rows = interactions.rows.drop_nulls(["user", "item"])
    per_user = rows.group_by("user").agg(pl.len(), moments=pl.col("timestamp").drop_nulls().n_unique())
    first, last = rows["timestamp"].min(), rows["timestamp"].max()
    at_once = per_user.filter((pl.col("len") > 1) & (pl.col("moments") == 1)).height
    return {
        "users": len(interactions.users),
        "items": items.height,
        "items_touched": len(interactions.items),
        "interactions": interactions.rows.height,
        "interactions_per_user_mean": rows.height / max(per_user.height, 1),
        "interactions_per_user_max": per_user["len"].max() or 0,
        "first_time": str(first) if first is not None else None,
        "last_time": str(last) if last is not None else None,
        "share_whole_history_at_one_time": at_once / max(per_user.height, 1),
        "text_columns": text_columns(items),
    }


def _measured(check: Mapping[str, Any]) -> Measured:
    """What a verdict says of a check, as it was measured."""
    names = ("said", "count", "of", "unit")
    counted = {name: check[name] for name in names if check.get(name) is not None}
    return Measured(check["observed"], check["threshold"], at_least=check["bound"] == "at least", **counted)


def refusal(verdict: Mapping[str, Any], *, where: str) -> GateRefused:
    """The error for a verdict that did not pass: each critical failure with its rows, and its mend."""
    failed = [check for check in verdict["checks"] if check["name"] in verdict["critical_failures"]]
    found, mends = [], []
    for check in failed:
        rows = "".join(f"\n    {row}" for row in check["rows"])
        found.append(f"{check['name']}: {check['meaning']} {describe(_measured(check))}{rows}")
        mends.append(f"{check['name']}: {check['mend']}")
    return GateRefused(
        "critical checks failed: " + "; ".join(verdict["critical_failures"]) + "\n  " + "\n  ".join(found),
        where=where,
        mend="\n         ".join(mends),
    )
