"""Great Expectations asserts what Polars measured, and its Data Docs show it as a static site.

One suite per group of checks over a frame of one row, one column per check: the row is the bridge, as Great
Expectations has no Polars engine, and it stays as small for ten million interactions as for ten. The site holds no
clock and no random name: equal data give equal bytes. Its styles come from the net; without it the pages still read.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.data.validate.checks import ROWS_SHOWN, Check, Measured
from components.settings.params import Severity

_RUN_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands for the time of the run: an artifact tells what is true of the data, not when someone looked."""
_CLOCK = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REMOTE_LOGO = re.compile(r'src="https://great-expectations-web-assets[^"]*"')
"""Every page asks a bucket for its logo, with the time of the run: a counter of readers. The site brings its own."""

_OFFLINE = (
    "<style>body{font-family:sans-serif}th,td{text-align:left;padding:2px 8px;vertical-align:top}"
    ".fa-check-circle::before{content:'\\2714'}.fa-times::before{content:'\\2718'}</style>"
)
"""Before all other styles, so that theirs win where the net is there."""


def assert_and_document(
    measured: Mapping[str, Measured], checks: Mapping[str, Check], severity: Mapping[str, Severity], site: Path
) -> dict[str, bool]:
    """Assert every measure, write the Data Docs to the new folder `site`, return check name -> passed.

    A skipped check passes here (a missing value violates no bound) and says in the docs that it was skipped.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import, which takes 4 to 6 s: so it happens here
    import great_expectations as gx
    import pandas as pd
    from great_expectations.core.run_identifier import RunIdentifier

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral", project_config=_quiet(site))
    source = context.data_sources.add_pandas("measured")
    passed: dict[str, bool] = {}
    for suite_name in dict.fromkeys(check.suite for check in checks.values()):
        names = [name for name in measured if checks[name].suite == suite_name]
        suite = context.suites.add(gx.ExpectationSuite(name=suite_name))
        for name in names:
            suite.add_expectation(_expectation(checks[name], measured[name], severity[name]))
        batch = source.add_dataframe_asset(suite_name).add_batch_definition_whole_dataframe("whole")
        definition = gx.ValidationDefinition(name=suite_name, data=batch, suite=suite)
        frame = pd.DataFrame({name: [measured[name].observed] for name in names}, dtype="float64")
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame}, run_id=RunIdentifier(run_name="validate", run_time=_RUN_TIME)
        )
        for outcome in result.results:
            assert outcome.expectation_config is not None
            passed[outcome.expectation_config.kwargs["column"]] = bool(outcome.success)
    context.build_data_docs(site_names=["idiom"])
    for page in sorted(site.rglob("*.html")):
        page.write_text(_timeless(page.read_text(encoding="utf-8"), page, site), encoding="utf-8")
    return passed


def _quiet(site: Path) -> Any:
    """Settings that keep everything in memory but the site, and draw no progress bars."""
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    pages: Any = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    return DataContextConfig(
        # Its own sites would be made in a temporary folder that nobody removes.
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"idiom": pages},
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )


def _expectation(check: Check, measure: Measured, severity: Severity) -> Any:
    import great_expectations.expectations as gxe

    bound = {"min_value": measure.threshold} if measure.at_least else {"max_value": measure.threshold}
    said = f"{check.name} ({severity}): {check.meaning} {describe(measure)} Mend: {check.mend}"
    return gxe.ExpectColumnValuesToBeBetween(
        column=check.name,
        **bound,  # type: ignore[arg-type]
        severity=severity,  # type: ignore[arg-type]
        description=said,
        notes=[f"Offending rows, at most {ROWS_SHOWN}:", *(f"- {row}" for row in measure.rows)]
        if measure.rows
        else None,
        meta={"suite": check.suite, "skipped": measure.skipped},
    )


def describe(measure: Measured) -> str:
    """`observed 0.52, allowed at most 0.5`, or why there is nothing to observe."""
    if measure.skipped is not None:
        return f"Skipped: {measure.skipped}."
    bound = f"{'at least' if measure.at_least else 'at most'} {measure.threshold:.4g}"
    said = f" {measure.said}." if measure.said else ""
    return f"Observed {measure.observed:.4g}, {bound}.{said}"


def _timeless(html: str, page: Path, site: Path) -> str:
    """The page without clock, with its random names counted in the order of their first use, readable offline."""
    up = "../" * (len(page.relative_to(site).parts) - 1)
    html = _REMOTE_LOGO.sub(f'src="{up}static/images/logo-long.png"', html)
    html = _CLOCK.sub(f"{_RUN_TIME:%Y%m%dT%H%M%S.%fZ}", html)
    numbers: dict[str, str] = {}
    html = _UUID.sub(lambda match: numbers.setdefault(match[0], f"part-{len(numbers)}"), html)
    html = html.replace("<head>", f"<head>{_OFFLINE}", 1)
    return html.replace("<body>", f"<body>{_links(site)}", 1) if page == site / "index.html" else html


def _links(site: Path) -> str:
    """Plain links to the results: the list that the index page builds needs scripts from the net."""
    pages = sorted(site.glob("validations/**/*.html"))
    links = (f'<a href="{page.relative_to(site).as_posix()}">{page.relative_to(site).parts[1]}</a>' for page in pages)
    return f"<p>Results: {', '.join(links)}</p>"
