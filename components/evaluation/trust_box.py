"""What a reader is told of trust: the verdict on it, doubts in sentences, and where every figure comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluation.contenders import TIES
from components.evaluation.metrics import LEAST_USERS
from components.pages.render import whole

DIGEST = 16
"""Digits of a digest that people compare; metrics.json has all of them."""

_REASONS = {
    "missing_id": "without an id",
    "repeated_id": "with an id that stood there already",
    "unknown_item": "of items that the catalogue lacks",
    "never_touched": "that nobody took",
    "merged_duplicate": "that are others by the same text",
    "repeat": "that the user had already",
    "k_core": "below the k-core",
    "not_sampled": "outside the sample of users",
    "after_test_item": "after the test item",
    "no_history": "of users without a history",
    "no_time": "without a time",
    "not_in_training": "of items outside the training",
    "order_unknown": "in no known order",
    "below_min_rating": "below ingest.min_rating",
    "other_event": "of other kinds than ingest.events",
    "equal": "that stood there twice",
    "conflicting": "that contradict another row",
}


def verdict(metrics: Mapping[str, Any]) -> str:
    """Yes, With care, or Not known."""
    found = metrics.get("trust", {})
    if found.get("validation", {}).get("passed") is None:
        return "Not known"
    return "With care" if doubts(metrics) else "Yes"


def doubts(metrics: Mapping[str, Any]) -> list[str]:
    """What a reader has to keep in mind, a short sentence each; the checks in full are in `warnings` of the section."""
    found, protocol = metrics.get("trust", {}), metrics["protocol"]
    validation = found.get("validation", {})
    lines = []
    if validation.get("passed") is None:
        lines.append("Nobody knows what validation found: its verdict was not there.")
    if validation.get("passed") is False:
        lines.append("Validation FAILED.")
    lines += [
        f"{_plain(check['name'])}: {check['found'] or 'not met'}"
        for check in validation.get("not_met", [])
        if check.get("severity") != "info"
    ]
    lines += [text for stage, text in found.get("warnings", []) if stage != "validate"]
    if protocol["test_users"] < LEAST_USERS:
        lines.append(f"Under {LEAST_USERS} test users there is no verdict.")
    return lines


def facts(metrics: Mapping[str, Any]) -> list[str]:
    """What speaks for it, short."""
    found, protocol = metrics.get("trust", {}), metrics["protocol"]
    validation = found.get("validation", {})
    lines = []
    if checks := validation.get("checks"):
        met = checks - len(validation["not_met"])
        skipped = f", {validation['skipped']} of them skipped" if validation.get("skipped") else ""
        lines.append(f"Validation: {met} of {checks} checks met{skipped}.")
    lines.append(f"Ties: {TIES[protocol['ties']]} ({protocol['ties']}).")
    users, everybody = whole(protocol["test_users"]), whole(protocol["all_test_users"])
    asked = f"All {users}" if users == everybody else f"{users} of {everybody}"
    lines.append(f"{asked} test users; seed {protocol['seed']}.")
    return lines


def in_words(metrics: Mapping[str, Any]) -> list[str]:
    """The verdict, doubts and facts as sentences for a terminal, Prefect and MLflow."""
    return [f"{verdict(metrics)}.", *doubts(metrics), *facts(metrics), *_digests(metrics)]


def provenance(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of everything by which a printed page is traced, without commit and date."""
    found, protocol = metrics.get("trust", {}), metrics["protocol"]
    first, last = found.get("times") or (None, None)
    rows = [
        ("Protocol", f"{protocol['training']}, seen items {protocol['headline']}"),
        ("Search", f"{protocol['beams']} beams, {protocol['scores']} scores, lists of {protocol['depth']}"),
        ("Seed", str(protocol["seed"])),
        ("Raw files", ", ".join(map(str, found.get("raw_files", [])))),
        ("Times of the data", f"{str(first)[:16]} to {str(last)[:16]}" if first else ""),
        ("Data digest", _short(found.get("data_digest"), "of the clean tables and the targets")),
        ("Settings digest", _short(found.get("settings_digest"), "of the settings of the evaluation")),
        ("Training key", _short(found.get("train_key"), "of data, settings and code of the training")),
        ("Versions", ", ".join(f"{name} {each}" for name, each in found.get("versions", {}).items())),
    ]
    return [(name, value) for name, value in rows if value]


def removed(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, int]]]]:
    """What was read, dropped by reason, and kept, a list for each kind of row."""
    found, lists = metrics.get("trust", {}), []
    for table, counts in found.get("set_aside", {}).items():
        lists.append((f"Raw {table}", _counted(counts["records"], counts["set_aside"], counts["kept"])))
    for kind, counts in found.get("removed", {}).items():
        lists.append((f"Cleaned {kind}", _counted(counts["in"], counts["removed"], counts["kept"])))
    return lists


def _counted(read: int, dropped: Mapping[str, int], kept: int) -> list[tuple[str, int]]:
    rows: Sequence[tuple[str, int]] = [(_REASONS.get(name, _plain(name)), -count) for name, count in dropped.items()]
    return [("read", read), *rows, ("kept", kept)]


def _digests(metrics: Mapping[str, Any]) -> list[str]:
    digest = metrics.get("trust", {}).get("data_digest")
    return [f"Data digest {digest[:DIGEST]}."] if digest else []


def _short(value: Any, what: str) -> str:
    return f"{str(value)[:DIGEST]} ({what})" if value else ""


def _plain(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
