"""The stage `validate` with the real Great Expectations: verdict, Data Docs, refusal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from components.data.clean.clean import clean
from components.data.validate.checks import CHECKS, ROWS_SHOWN
from components.data.validate.validate import validate
from components.errors import BadInput, GateRefused
from components.settings import params
from components.storage.artifacts import read_json
from components.storage.manifest import sha256
from tests.data.tables_of import START, catalogue, events, interactions, shop, workspace


def _backward() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A shop in which the second event of every user is the earliest."""
    items, rows = shop()
    moment = pl.when(pl.col("position") == 1).then(pl.lit(START).dt.offset_by("-9d")).otherwise("timestamp")
    return items, rows.with_columns(timestamp=moment)


def test_a_sound_shop_passes_and_clean_goes_on(tmp_path: Path) -> None:
    """The verdict is complete, deterministic JSON, and what `clean` needs to see."""
    layout = workspace(tmp_path, *shop())
    verdict = validate(params.Validate(), layout)
    assert verdict["passed"] and verdict["critical_failures"] == [] == verdict["warnings"]
    assert [check["name"] for check in verdict["checks"]] == list(CHECKS)
    assert read_json(layout.verdict) == json.loads(json.dumps(verdict))
    keys = {
        "name",
        "suite",
        "severity",
        "passed",
        "skipped",
        "observed",
        "threshold",
        "bound",
        "said",
        "rows",
        "count",
        "of",
        "unit",
        "found",
        "column",
        "meaning",
        "mend",
    }
    assert all(set(check) == keys for check in verdict["checks"])
    assert verdict["facts"]["users"] == 12 and verdict["facts"]["interactions"] == 72
    assert clean(params.Clean(min_item_interactions=1), 17, layout)["users"]["kept"] == 12


def test_two_runs_give_equal_bytes_with_no_clock_in_them(tmp_path: Path) -> None:
    """Great Expectations writes random names and the time into its pages; DVC would never find them unchanged."""
    layout = workspace(tmp_path, *_backward())
    digests = set()
    for _ in range(2):
        with pytest.raises(GateRefused):
            validate(params.Validate(), layout)
        digests.add((sha256(layout.verdict), sha256(layout.data_docs), sha256(layout.validation)))
    assert len(digests) == 1
    pages = {
        page.relative_to(layout.data_docs).as_posix(): page.read_text() for page in layout.data_docs.rglob("*.html")
    }
    assert {f"expectations/{suite}.html" for suite in ("catalogue", "interactions", "leakage")} | {"index.html"} <= set(
        pages
    )
    for name, page in pages.items():
        stamps = set(re.findall(r"20\d\d[-]?\d\d[-]?\d\dT[\d:.]+Z", page))
        assert stamps <= {"20000101T000000.000000Z"}, name
        assert str(tmp_path) not in page, name


def test_a_critical_failure_publishes_first_and_then_refuses_with_rows_and_mend(tmp_path: Path) -> None:
    """Exit code 3; a person reads the rows in the terminal, and the docs are there to look further."""
    layout = workspace(tmp_path, *_backward())
    with pytest.raises(GateRefused) as caught:
        validate(params.Validate(), layout)
    assert caught.value.exit_code == 3
    verdict = read_json(layout.verdict)
    assert verdict["critical_failures"] == ["time_goes_forward"] and not verdict["passed"]
    check = next(check for check in verdict["checks"] if check["name"] == "time_goes_forward")
    assert check["observed"] == 12 and len(check["rows"]) == ROWS_SHOWN
    assert all(f"'user_id': '{row['user_id']}'" in str(caught.value) for row in check["rows"])
    assert CHECKS["time_goes_forward"].mend in caught.value.mend
    docs = "".join(page.read_text() for page in layout.data_docs.rglob("*.html"))
    assert "time_goes_forward (critical)" in docs and CHECKS["time_goes_forward"].mend in docs
    with pytest.raises(GateRefused, match="time_goes_forward"):
        clean(params.Clean(min_item_interactions=1), 17, layout)


def test_severities_decide_what_refuses(tmp_path: Path) -> None:
    """The data team's way out, and in: the same finding as a warning passes, a warning made critical refuses."""
    layout = workspace(tmp_path, *_backward())
    verdict = validate(params.Validate(severities={"time_goes_forward": "warning"}), layout)
    assert verdict["passed"] and verdict["warnings"] == ["time_goes_forward"]
    items, rows = shop()
    layout = workspace(tmp_path, items.filter(pl.col("item_id") != "i03"), rows)
    with pytest.raises(GateRefused, match="no_orphans"):
        validate(params.Validate(severities={"no_orphans": "critical"}), layout)
    with pytest.raises(GateRefused, match="Observed 12, at least 13"):
        validate(params.Validate(min_users=13), layout)
    before = sha256(layout.verdict)
    with pytest.raises(BadInput, match="no_such_check"):
        validate(params.Validate(severities={"no_such_check": "info"}), layout)
    assert sha256(layout.verdict) == before


def test_skipped_checks_say_so_and_do_not_fail(tmp_path: Path) -> None:
    """A missing measure must reach Great Expectations as "nothing to object to", and people as "not looked at"."""
    items, rows = shop()
    layout = workspace(tmp_path, items, rows.with_columns(timestamp=pl.lit(None, rows.schema["timestamp"])))
    verdict = validate(params.Validate(), layout)
    assert verdict["passed"] and verdict["warnings"] == ["times_complete"]
    check = next(check for check in verdict["checks"] if check["name"] == "few_ties_in_time")
    assert check["passed"] and check["skipped"] == "no interaction has a time" and check["observed"] is None
    assert "Skipped: no interaction has a time" in "".join(
        page.read_text() for page in layout.data_docs.rglob("*.html")
    )


DEGENERATE = {
    "one user": (catalogue({c: f"Thing {c}" for c in "abc"}), {"u": "a c b"}, "1 user"),
    "one item": (catalogue({"a": "Soap"}), {"u": "a", "v": "a"}, "1 catalogue item"),
    "no text": (catalogue(dict.fromkeys("abc", "N/A")), {"u": "a c b", "v": "b a c"}, "no item has any text"),
    "no text column": (
        catalogue(dict.fromkeys("abc", "x")).drop("title"),
        {"u": "a c b", "v": "b a c"},
        "no item has any text",
    ),
    "all items identical": (catalogue(dict.fromkeys("abc", "Soap")), {"u": "a c b", "v": "b a c"}, "same text"),
    "tables do not join": (catalogue({"x": "Soap", "y": "Brush"}), {"u": "a c b", "v": "b a c"}, "0 catalogue item"),
    "empty": (catalogue({"x": "Soap", "y": "Brush"}), {}, "0 user"),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_data_that_cannot_be_judged_is_bad_input_and_writes_nothing(tmp_path: Path, case: str) -> None:
    """Exit code 2: no severity can make one user learnable, and the verdict of a better day stays."""
    items, bought, said = DEGENERATE[case]
    layout = workspace(tmp_path, items, interactions(events(bought)))
    with pytest.raises(BadInput, match=said) as caught:
        validate(params.Validate(), layout)
    assert caught.value.exit_code == 2 and caught.value.mend
    assert not layout.verdict.exists() and not layout.data_docs.exists()


def test_the_documentation_lists_every_check_as_it_is(repository: Path) -> None:
    """docs/checks.md is what people read; a check or severity that differs there misleads them."""
    text = (repository / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", text, flags=re.MULTILINE)
    assert rows == [(check.name, check.severity) for check in CHECKS.values()]
