"""benchmarks/clean.py is run at a small size, so that it cannot rot between the days on which someone measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_it_prints_one_json_line_and_both_sides_agree(repository: Path) -> None:
    """Its comparison of all four tables is also a second reference for `clean`, written in pandas."""
    command = [sys.executable, str(repository / "benchmarks" / "clean.py"), "--rows", "5000"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    (line,) = ran.stdout.splitlines()
    result = json.loads(line)
    assert result["rows"] == 5000 and result["equal"] is True
    assert result["rows_per_s_polars"] > 0 and result["peak_mib_pandas"] > 0
