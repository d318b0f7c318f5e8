"""Looks the pins of constraints.txt up in a list of known vulnerabilities (OSV), by pip-audit. `make audit` calls it.

    python -m infra.audit            # exit code 0: none is known; 1: some are; 2: nothing could be checked

Without a connection it says that nothing was checked: silence is no clean bill.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_CONSTRAINTS = _ROOT / "constraints.txt"
_LINES = 3


def audit(constraints: Path, *options: str) -> tuple[int, list[str]]:
    """(exit code, lines to print) of an audit of a file of pins. options: further ones of pip-audit."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--progress-spinner", "off", "--format", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = [line for line in done.stderr.splitlines() if line.strip()][-_LINES:]
        return 2, ["error: nothing was checked: the list of vulnerabilities does not answer", *said]
    skipped = [each for each in found if "skip_reason" in each]
    lines = [
        f"{each['name']} {each['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'no version'}"
        for each in found
        for one in each.get("vulns", [])
    ]
    lines += [f"not checked: {each['name']}: {each['skip_reason']}" for each in skipped]
    count = len(found) - len(skipped)
    if count == 0:
        return 2, ["error: nothing was checked: there are no pins", *lines]
    known = sum(len(each.get("vulns", [])) for each in found)
    return int(known > 0 or bool(skipped)), [*lines, f"{count} pins checked, {known} known vulnerabilities"]


def main() -> int:
    """Print what is known of the pins; returns the exit code."""
    code, lines = audit(_CONSTRAINTS)
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
