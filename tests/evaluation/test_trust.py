"""What decides trust: gathered from the reports of the stages, said in words, and unknown where there is no report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.evaluation import trust_box
from components.evaluation.trust import gather, warnings
from components.storage.layout import Layout
from tests.evaluation.made_report import metrics

CHECKS = [
    {"name": "few_ties_in_time", "severity": "warning", "passed": False, "skipped": None, "found": "6 of 9 users."},
    {"name": "enough_users", "severity": "critical", "passed": True, "skipped": None, "found": "Observed 9."},
]
REPORTS: dict[str, dict[str, Any]] = {
    "ingest/report.json": {
        "in_words": ["2 of 11 records of the interactions are set aside."],
        "conservation": {"interactions": {"records": 11, "kept": 9, "set_aside": {"missing_id": 2}}, "share": 0.1},
        "files": {"read": ["shop.csv"]},
        "items": {"rows": 4},
    },
    "validate/verdict.json": {
        "in_words": ["few_ties_in_time: ..."],
        "passed": True,
        "checks": CHECKS,
        "facts": {"first_time": "2014-01-01", "last_time": "2014-02-01"},
    },
    "clean/report.json": {"in_words": [], "interactions": {"in": 9, "removed": {"k_core": 4}, "kept": 5}},
    "index/report.json": {"in_words": ["1 % of the IDs hold a foreign word"]},
}


def reported(root: Path, **changes: Any) -> Layout:
    layout = Layout(root, "shop")
    for name, report in REPORTS.items():
        path = layout.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(changes.get(name.split("/")[0], report)))
    return layout


def test_reports_are_gathered_and_said(tmp_path: Path) -> None:
    """Prevents a verdict that is written and not shown, and rows that are dropped without a word."""
    layout = reported(tmp_path)
    found = gather(layout, settings={"seed": 17}, train_key="f00d")
    assert [stage for stage, _ in warnings(layout)] == ["ingest", "validate", "index"]
    made = metrics(users=40, trust=found)
    assert trust_box.verdict(made) == "With care"
    said = trust_box.doubts(made)
    assert "Few ties in time: 6 of 9 users." in said and "1 % of the IDs hold a foreign word" in said
    assert "Validation: 1 of 2 checks met." in trust_box.in_words(made)
    assert dict(trust_box.removed(made)) == {
        "Raw interactions": [("read", 11), ("without an id", -2), ("kept", 9)],
        "Cleaned interactions": [("read", 9), ("below the k-core", -4), ("kept", 5)],
    }
    assert dict(trust_box.provenance(made))["Raw files"] == "shop.csv"
    assert gather(layout, settings={"seed": 17}, train_key="f00d") == found, "no clock"


def test_a_change_of_data_or_settings_changes_its_digest_alone(tmp_path: Path) -> None:
    """Prevents two printed pages of different data that look alike."""
    layout = reported(tmp_path)
    before = gather(layout, settings={"seed": 17})
    assert gather(layout, settings={"seed": 18})["settings_digest"] != before["settings_digest"]
    layout.histories.write_bytes(b"other rows")
    after = gather(layout, settings={"seed": 17})
    assert after["data_digest"] != before["data_digest"] and after["settings_digest"] == before["settings_digest"]


def test_good_data_can_be_trusted_and_unknown_data_not(tmp_path: Path) -> None:
    """Prevents a box that always says "with care", which nobody reads, and a "Yes" for data that nobody looked at."""
    quiet = {"in_words": [], "passed": True, "checks": CHECKS[1:], "facts": {}}
    layout = reported(tmp_path, validate=quiet, ingest={"in_words": []}, index={"in_words": []})
    assert trust_box.verdict(metrics(users=40, trust=gather(layout, settings={}))) == "Yes"
    empty = gather(Layout(tmp_path / "grid", "shop"), settings={})
    assert trust_box.verdict(metrics(users=40, trust=empty)) == "Not known"


@pytest.mark.parametrize(
    ("stage", "report"),
    [
        ("validate", {"passed": True, "checks": [7]}),
        ("clean", {"interactions": {"in": 9}}),
        ("ingest", {"conservation": {"items": {"records": "9"}}}),
        ("index", []),
    ],
)
def test_a_report_that_the_stage_did_not_write_is_named(tmp_path: Path, stage: str, report: Any) -> None:
    """Prevents a traceback at the end of an evaluation of hours, for a report that was edited or merged by git."""
    with pytest.raises(BadInput, match=f"not what `{stage}` writes"):
        gather(reported(tmp_path, **{stage: report}), settings={})
