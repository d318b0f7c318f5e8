"""The page of what was checked: the answer first, then what was not met with its rows, then everything else.

html = page(verdict, dataset="demo")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.pages.render import render, whole

_LEVELS = ("critical", "warning", "info")
_KINDS = {"critical": "worse", "warning": "level", "info": "level"}
_SAYS = {"critical": "Refuses the data", "warning": "Warning", "info": "For information"}


def page(verdict: Mapping[str, Any], *, dataset: str) -> str:
    """The page of a verdict, as validate.py makes it. Severities decide what it says, not how many checks were met."""
    checks = verdict["checks"]
    missed = [check for level in _LEVELS for check in checks if not check["passed"] and check["severity"] == level]
    skipped = [check for check in checks if check["skipped"] is not None]
    met = [check for check in checks if check["passed"] and check["skipped"] is None]
    return render(
        "validation.html.jinja",
        title=f"What was checked, {dataset}",
        eyebrow=f"{dataset}: what was checked before anything was learned",
        answer=_answer(verdict, len(checks), len(met)),
        tiles=[_looked_at(verdict["facts"]), _found(missed), _left(skipped)],
        missed=[_shown(check) for check in missed],
        met=_table(met),
        skipped=_table(skipped),
    )


def _answer(verdict: Mapping[str, Any], asked: int, met: int) -> dict[str, str]:
    if not verdict["passed"]:
        names = ", ".join(_plain(name) for name in verdict["critical_failures"])
        sentence, kind = f"The data are refused: {names}.", "worse"
    elif count := len(verdict["warnings"]):
        sentence, kind = f"The data pass, with {count} warning{'s' * (count > 1)}.", "level"
    else:
        sentence, kind = "The data pass every check that can stop or warn.", "better"
    return {"sentence": sentence, "figures": f"{met} of {asked} checks are met.", "kind": kind}


def _looked_at(facts: Mapping[str, Any]) -> dict[str, Any]:
    counted = [f"{whole(facts[name])} {name}" for name in ("interactions", "users", "items")]
    times = f"{str(facts['first_time'])[:16]} to {str(facts['last_time'])[:16]}" if facts["first_time"] else "No times."
    return {"asks": "What was looked at?", "says": counted[0], "lines": [f"{counted[1]}, {counted[2]}.", times]}


def _found(missed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lines = [f"{_plain(check['name'])}: {check['found']}" for check in missed]
    return {"asks": "What was found?", "says": f"{len(missed)} not met" if missed else "Nothing", "lines": lines}


def _left(skipped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lines = [f"{_plain(check['name'])}: {check['skipped']}." for check in skipped]
    says = f"{len(skipped)} skipped" if skipped else "Nothing"
    return {"asks": "What could not be asked?", "says": says, "lines": lines}


def _shown(check: Mapping[str, Any]) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for row in check["rows"] for name in row))
    return {
        "name": _plain(check["name"]),
        "id": check["name"],
        "kind": _KINDS[check["severity"]],
        "says": _SAYS[check["severity"]],
        "column": check["column"],
        "found": check["found"],
        "meaning": check["meaning"],
        "mend": check["mend"],
        "columns": columns,
        "rows": [[_cell(row.get(name)) for name in columns] for row in check["rows"]],
    }


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _table(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    names = ("column", "found", "meaning", "severity")
    return [{"name": _plain(check["name"]), **{name: str(check[name]) for name in names}} for check in checks]


def _plain(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
