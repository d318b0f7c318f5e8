"""The ID table's contract is asserted and documented, and a broken rule stops the stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.data.validate.id_suite import document
from components.errors import GateRefused

KEPT = {"rule": "IDs are unique as words", "count": 0, "rows": []}
BROKEN = {
    "rule": "IDs are not empty",
    "count": 2,
    "rows": [{"item_id": "B7", "words": ""}, {"item_id": "B8", "words": ""}],
}


def test_kept_contract_is_documented(tmp_path: Path) -> None:
    """The site names the rule, so that a reviewer sees what was checked."""
    document([KEPT], tmp_path)
    pages = "".join(page.read_text() for page in tmp_path.rglob("*.html"))
    assert KEPT["rule"] in pages


def test_broken_rule_stops_the_stage_and_names_the_rows(tmp_path: Path) -> None:
    """Prevents two items from sharing words, or none, in a published table."""
    with pytest.raises(GateRefused) as caught:
        document([KEPT, BROKEN], tmp_path)
    said = str(caught.value)
    assert "IDs are not empty" in said and "B7" in said and "unique" not in said
