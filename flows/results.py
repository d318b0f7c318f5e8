"""Results of a run, read from its artifacts: the table of metrics, the findings in words, links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.evaluation.contenders import MODEL, RANKING, baselines, metric_order
from components.registry.bundle import BUNDLE
from components.registry.champion import CHALLENGER, CHAMPION
from components.registry.pages import report_to_show
from components.registry.published import MEND, registration_of
from components.registry.store import behind_alias
from components.settings.params import Params
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from flows.links import version_page
from flows.servers import mlflow_address


def table(workspace: Path, params: Params) -> list[dict[str, Any]]:
    """One row a metric, one column a recommender, headline variant; empty where nothing was evaluated."""
    layout = Layout(workspace, params.dataset)
    if not layout.metrics.is_file():
        return []
    metrics = read_json(layout.metrics)
    headline = metrics[metrics["protocol"]["headline"]]
    names = [name for name in (MODEL, *baselines()) if name in headline]
    return [
        {"metric": metric, **{name: round(headline[name][metric], 4) for name in names}}
        for metric in sorted(headline[MODEL], key=metric_order)
    ]


def words(workspace: Path, params: Params) -> str:
    """The findings as Markdown; empty where nothing was evaluated."""
    layout = Layout(workspace, params.dataset)
    if not layout.metrics.is_file():
        return ""
    from components.evaluation.in_words import findings_as_markdown

    return findings_as_markdown(layout)


def links(workspace: Path, params: Params) -> dict[str, str]:
    """Text -> address: the report page and, once a version is registered, its page in MLflow."""
    layout = Layout(workspace, params.dataset)
    found = {"Evaluation report": report_to_show(layout).as_uri()} if layout.report.is_file() else {}
    if layout.validation.is_file():
        found["What was checked"] = layout.validation.as_uri()
    if registered := registration_of(layout):
        found["MLflow model version"] = version_page(mlflow_address(), registered["name"], registered["version"])
    return found


def summary(workspace: Path, params: Params) -> str:
    """What a person wants to see after a run: the figures, three users in words, what was registered, where to look."""
    from components.evaluation.in_words import findings_as_text

    layout = Layout(workspace, params.dataset)
    if not layout.metrics.is_file():
        return "Nothing was evaluated in this workspace yet."
    return "\n".join(
        [
            *_aligned(table(workspace, params)),
            "",
            findings_as_text(layout, seed=params.seed),
            "",
            *_registered(workspace, layout),
            f"report      {report_to_show(layout)}",
            *([f"checked     {layout.validation}"] if layout.validation.is_file() else []),
            "next        make ui opens MLflow and Prefect; idiom recommend ITEM_ID asks the champion",
        ]
    )


def _aligned(rows: list[dict[str, Any]]) -> list[str]:
    """The ranking metrics as columns for a terminal."""
    shown = [row for row in rows if row["metric"].startswith(tuple(RANKING))]
    names = [name for name in rows[0] if name != "metric"]
    lines = [" " * 12 + "".join(f"{name.replace('_', ' '):>12}" for name in names)]
    for row in shown:
        lines.append(f"{row['metric'].replace('_at_', '@'):<12}" + "".join(f"{row[name]:>12.4f}" for name in names))
    return lines


def _registered(workspace: Path, layout: Layout) -> list[str]:
    """The version that was registered, and what the rules of promotion said of it where it was judged."""
    registered = registration_of(layout)
    if registered is None:
        return [f"registered  not in the MLflow of this workspace: {MEND}"]
    version = f"registered  {_as(workspace, registered)}"
    files = list(layout.root.glob(f"promote/*-{registered['version']}/decision.json"))
    if not files:
        return [version]
    decision = read_json(max(files, key=lambda file: file.stat().st_mtime))
    refused = [reason["text"] for reason in decision["reasons"] if not reason["passed"]]
    said = f"refused: {'; '.join(refused)}" if refused else "accepted by all rules"
    return [version, f"decided     {said}"]


def _as(workspace: Path, registered: dict[str, Any]) -> str:
    """Name, version and the aliases that it has by now, as far as the store of the workspace says so without MLflow."""
    name, number = registered["name"], str(registered["version"])
    found = {alias: behind_alias(workspace, name, alias, BUNDLE) for alias in (CHAMPION, CHALLENGER)}
    aliases = [alias for alias, version in found.items() if version and version[0] == number]
    aliases = aliases if any(found.values()) else registered["aliases"]
    called = f"alias {' and '.join(aliases)}" if aliases else "without an alias"
    return f"{registered['name']} version {registered['version']}, {called}"
