"""Great Expectations asserts what Polars measured, and its Data Docs show it as a static site.

One suite per group of checks over a frame of one row, one column per check: the row is the bridge, as Great
Expectations has no Polars engine, and it stays as small for ten million interactions as for ten. What people read is
`page`; the site is the record of what was asserted (data_docs).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.data.validate.checks import ROWS_SHOWN, Check, Measured
from components.data.validate.data_docs import RUN_TIME, clean
from components.settings.params import Severity

NOTE = (
    "What Great Expectations asserted: each expectation looks at the one row of measures that Polars took of the whole "
    "table, so its counts of rows are of that row."
)


def assert_and_document(
    measured: Mapping[str, Measured],
    checks: Mapping[str, Check],
    severity: Mapping[str, Severity],
    site: Path,
    *,
    note: str = NOTE,
) -> dict[str, bool]:
    """Assert every measure, write the Data Docs to the new folder `site`, return check name -> passed.

    note: said at the top of each page; `{up}` is the way to the site's folder. A skipped check passes here (a missing
    value violates no bound) and says in the docs that it was skipped.
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
            batch_parameters={"dataframe": frame}, run_id=RunIdentifier(run_name="validate", run_time=RUN_TIME)
        )
        for outcome in result.results:
            assert outcome.expectation_config is not None
            passed[outcome.expectation_config.kwargs["column"]] = bool(outcome.success)
    context.build_data_docs(site_names=["idiom"])
    clean(site, _status(passed, checks, severity), note)
    return passed


def _status(
    passed: Mapping[str, bool], checks: Mapping[str, Check], severity: Mapping[str, Severity]
) -> dict[str, str]:
    """Suite -> passed, passed with warnings, or FAILED, by the worst severity that was not met."""
    found: dict[str, str] = {}
    for suite in {check.suite for check in checks.values()}:
        missed = {severity[name] for name, kept in passed.items() if not kept and checks[name].suite == suite}
        found[suite] = "FAILED" if "critical" in missed else "passed with warnings" if missed else "passed"
    return found


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
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site.resolve())},
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
    """`12 of 320 interactions, at most 0`, `Observed 0.52, at most 0.5`, or why there is nothing to observe."""
    if measure.skipped is not None:
        return f"Skipped: {measure.skipped}."
    bound = "at least" if measure.at_least else "at most"
    said = f" {measure.said}." if measure.said else ""
    if measure.of is None or measure.count is None:
        return f"Observed {measure.observed:.4g}, {bound} {measure.threshold:.4g}.{said}"
    if not isinstance(measure.observed, float):
        return f"{measure.count:,} of {measure.of:,} {measure.unit}, {bound} {measure.threshold:.4g}.{said}"
    share = f"{measure.observed:.2%}, {bound} {100 * measure.threshold:.4g}%"
    return f"{measure.count:,} of {measure.of:,} {measure.unit} ({share}).{said}"
