"""What decides whether the figures of an evaluation can be trusted, gathered from the reports of the stages before it.

    metrics["trust"] = gather(layout, settings={...}, train_key="f00d...")
    warnings(layout)                   # [("validate", "few_ties_in_time: ... Mend: ...")], also before an evaluation

No clock and no commit: equal inputs give equal bytes. Both are known to `register`, which stamps its copy of the pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import digest, sha256

LIBRARIES = ("torch", "transformers", "numpy", "polars")
"""What decides the figures, beside our own code."""
KINDS = ("interactions", "users", "items")
"""What the report of `clean` counts."""


def gather(layout: Layout, *, settings: Mapping[str, Any], train_key: str = "") -> dict[str, Any]:
    """The section `trust` of metrics.json, as far as there are reports: a grid of ablations has none of them.

    settings: the sections that the evaluation read. train_key: what identifies the training.
    """
    reports = _reports(layout)
    verdict, ingested, cleaned = (reports.get(stage, {}) for stage in ("validate", "ingest", "clean"))
    checks = verdict.get("checks", [])
    facts = verdict.get("facts", {})
    return {
        "validation": {
            "passed": verdict.get("passed"),
            "checks": len(checks),
            "skipped": sum(check.get("skipped") is not None for check in checks),
            "not_met": [
                {"name": check["name"], "severity": check["severity"], "found": check.get("found", "")}
                for check in checks
                if not check["passed"]
            ],
        },
        "warnings": [list(each) for each in _in_words(reports)],
        "set_aside": {
            table: {key: found[key] for key in ("records", "kept", "set_aside")}
            for table, found in ingested.get("conservation", {}).items()
            if isinstance(found, dict)
        },
        "removed": {kind: cleaned[kind] for kind in KINDS if "in" in cleaned.get(kind, {})},
        "raw_files": ingested.get("files", {}).get("read", []),
        "times": [facts.get("first_time"), facts.get("last_time")],
        "data_digest": digest({path.name: sha256(path) for path in _data(layout) if path.is_file()}),
        "learned_from": {path.stem: sha256(path) for path in _taught(layout) if path.is_file()},
        "settings_digest": digest(dict(settings)),
        "train_key": train_key,
        "versions": {"idiom": _idiom(), **{name: version(name) for name in LIBRARIES}},
    }


def warnings(layout: Layout) -> list[tuple[str, str]]:
    """(stage, what it warned of), in the order of the graph; nothing of stages that have not run."""
    return _in_words(_reports(layout))


def _in_words(reports: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(stage, str(text)) for stage, report in reports.items() for text in report.get("in_words", [])]


def _reports(layout: Layout) -> dict[str, dict[str, Any]]:
    """Stage -> its report, in the order of the graph. Raises `BadInput` for one that the stage did not write."""
    paths: dict[str, Path] = {
        "ingest": layout.ingest_report,
        "validate": layout.verdict,
        "views": layout.views_report,
        "clean": layout.clean_report,
        "index": layout.index_report,
        "rank": layout.rank_report,
    }
    found = {stage: read_json(path) for stage, path in paths.items() if path.is_file()}
    for stage, report in found.items():
        if not _fits(report):
            mend = f"run the stage `{stage}` again: dvc repro"
            raise BadInput(f"not what `{stage}` writes", where=str(paths[stage]), mend=mend)
    return found


def _fits(report: Any) -> bool:
    """Whether a report has, in what it has, the shape that is read of it here."""
    if not isinstance(report, dict) or not isinstance(report.get("in_words", []), list):
        return False
    checks, counts = report.get("checks", []), [report.get(kind) for kind in KINDS]
    conserved = report.get("conservation", {})
    return (
        isinstance(checks, list)
        and all(isinstance(check, dict) and {"name", "severity", "passed"} <= set(check) for check in checks)
        and all(isinstance(report.get(name, {}), dict) for name in ("facts", "files", "conservation"))
        and all(_counts(each, "in", "removed", "kept") for each in counts if isinstance(each, dict) and "in" in each)
        and all(_counts(each, "records", "set_aside", "kept") for each in conserved.values() if isinstance(each, dict))
    )


def _counts(found: dict[str, Any], read: str, dropped: str, kept: str) -> bool:
    reasons = found.get(dropped)
    numbers = [found.get(read), found.get(kept), *(reasons.values() if isinstance(reasons, dict) else [None])]
    return all(isinstance(number, int) for number in numbers)


def _data(layout: Layout) -> tuple[Path, ...]:
    """What an evaluation reads of the data; which files they are is said beside the digest."""
    return layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets


def _taught(layout: Layout) -> tuple[Path, ...]:
    """What a model may have learned from, as it lies here, to be compared with what a model says."""
    return layout.histories, layout.valid_targets


def _idiom() -> str:
    from components import __version__

    return __version__
