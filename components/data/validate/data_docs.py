"""Great Expectations' Data Docs as files that ask nobody: no scripts, no styles or pictures from elsewhere, no clock.

It writes pages that load sixteen files from delivery networks, count their readers, advertise a newsletter, and call a
suite failed whatever the severity of what was not met. All of that goes; what it asserted stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from components.pages.render import stylesheet

RUN_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands for the time of the run, which Great Expectations has to be told: equal data give equal bytes."""

_CLOCK = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REMOTE_LOGO = re.compile(r'src="https://great-expectations-web-assets[^"]*"')
"""Every page asks a bucket for its logo, with the time of the run: a counter of readers. The site brings its own."""
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)
_LINK = re.compile(r"<link\b[^>]*>")
"""To styles elsewhere, and to an icon where none lies."""
_FOOTER = re.compile(r"<footer>.*?</footer>", re.DOTALL)
_FILTER = re.compile(
    r'<div class="card mb-3">\s*<div class="card-header p-2">\s*<strong>Actions.*?(?=<div class="card d-)', re.DOTALL
)
_STATUS = re.compile(r'(<span class="h6" >Status:</span>).*?(<br|</span>|\n)', re.DOTALL)
_SHOWN_TIME = f"{RUN_TIME:%Y-%m-%dT%H:%M:%SZ}"


def clean(site: Path, status: Mapping[str, str], note: str) -> None:
    """Rewrite every page of a site. status: suite -> what its severities make of it; note: said at the top of each."""
    for page in sorted(site.rglob("*.html")):
        page.write_text(_cleaned(page.read_text(encoding="utf-8"), page, site, status, note), encoding="utf-8")


def _cleaned(html: str, page: Path, site: Path, status: Mapping[str, str], note: str) -> str:
    parts = page.relative_to(site).parts
    up = "../" * (len(parts) - 1)
    html = _REMOTE_LOGO.sub(f'src="{up}static/images/logo-long.png"', html)
    html = _CLOCK.sub(f"{RUN_TIME:%Y%m%dT%H%M%S.%fZ}", html)
    numbers: dict[str, str] = {}
    html = _UUID.sub(lambda match: numbers.setdefault(match[0], f"part-{len(numbers)}"), html)
    for unwanted in (_SCRIPT, _LINK, _FOOTER, _FILTER):
        html = unwanted.sub("", html)
    html = html.replace(_SHOWN_TIME, "time not kept")
    if parts[0] == "validations":
        html = _STATUS.sub(rf"\1 {status[parts[1]]}\2", html, count=1)
    links = _results(site, status) if page == site / "index.html" else ""
    head = f'<p class="note">{note.format(up=up)}</p>{links}'
    own = f'<link rel="icon" href="data:,"><style>{stylesheet("data_docs.css")}</style>'
    return html.replace("<head>", f"<head>{own}", 1).replace("<body>", f"<body>{head}", 1)


def _results(site: Path, status: Mapping[str, str]) -> str:
    """Plain links to the results: the list that the index page builds needs scripts from the net."""
    pages = sorted(site.glob("validations/**/*.html"))
    named = ((page.relative_to(site).as_posix(), page.relative_to(site).parts[1]) for page in pages)
    lines = [f'<li><a href="{path}">{suite}</a>: {status[suite]}</li>' for path, suite in named]
    return f"<ul>{''.join(lines)}</ul>"
