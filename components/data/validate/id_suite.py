"""The contract of the ID table as a Great Expectations suite, with Data Docs, run wherever a table is published.

The rules are measured where the words are made (`textid.contract`); here they are asserted and documented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data.validate.checks import Check, Measured
from components.data.validate.expectations import assert_and_document
from components.errors import GateRefused


def document(contract: Sequence[Mapping[str, Any]], site: Path) -> None:
    """Assert each rule (`rule`, `count` of rows that break it, `rows`: at most ten) and write the site.

    Raises `GateRefused` naming every broken rule; whoever publishes the table calls this first.
    """
    mend = "Run `dvc repro train index`; a table that was edited or imported by hand must keep every rule."
    checks = {each["rule"]: Check(each["rule"], "ID table", "critical", f"{each['rule']}.", mend) for each in contract}
    measured = {each["rule"]: Measured(float(each["count"]), 0.0, rows=list(each["rows"])) for each in contract}
    passed = assert_and_document(measured, checks, dict.fromkeys(checks, "critical"), site)
    broken = [rule for rule, kept in passed.items() if not kept]
    if broken:
        rows = "".join(f"\n    {rule}: {row}" for rule in broken for row in measured[rule].rows)
        raise GateRefused(f"the ID table breaks its contract: {'; '.join(broken)}{rows}", where="index", mend=mend)
