"""benchmarks/datapath.py is run at a small size, so that it cannot rot between the days on which someone measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_it_prints_one_json_line(repository: Path, tmp_path: Path) -> None:
    """Both ways must make batches of the same samples, or the ratio says nothing."""
    command = [sys.executable, "-m", "benchmarks.datapath", "--sizes", "3000", "--batches", "16"]
    command += ["--folder", str(tmp_path)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=repository)
    (line,) = ran.stdout.splitlines()
    result = json.loads(line)
    assert result["ratio"] > 0
    measured = result["sizes"]["3e3"]
    assert 0 < measured["epoch"]["padding_share"] < measured["obvious"]["padding_share"]
    assert not list(tmp_path.iterdir()), "a gigabyte stays behind"
