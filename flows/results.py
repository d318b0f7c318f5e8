"""What came of a run, read from its artifacts: the result table, the findings in words, where to look next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.artifacts import Layout, read_json
from components.params import Params
from flows.servers import mlflow_address


def table(workspace: Path, params: Params) -> list[dict[str, Any]]:
    """One row a metric, one column a recommender, headline variant; empty where nothing was evaluated."""
    layout = Layout(workspace, params.dataset)
    if not layout.metrics.is_file():
        return []
    metrics = read_json(layout.metrics)
    headline = metrics[metrics["protocol"]["headline"]]
    return [
        {"metric": metric, **{who: round(figures[metric], 4) for who, figures in headline.items()}}
        for metric in headline["model"]
    ]


def words(workspace: Path, params: Params) -> str:
    """The findings as Markdown; empty where nothing was evaluated."""
    if not Layout(workspace, params.dataset).metrics.is_file():
        return ""
    from components.stages import findings

    return findings(workspace, params)


def links(workspace: Path, params: Params) -> dict[str, str]:
    """Text -> address: the report page and, once a version is registered, its run in MLflow."""
    layout = Layout(workspace, params.dataset)
    found = {"Evaluation report": layout.report.as_uri()} if layout.report.is_file() else {}
    if layout.registration.is_file():
        registered = read_json(layout.registration)
        found["MLflow model version"] = (
            f"{mlflow_address()}/#/models/{registered['name']}/versions/{registered['version']}"
        )
    return found


def summary(workspace: Path, params: Params) -> str:
    """What a person wants to see after a run: the figures, three users in words, what was registered, where to look."""
    from components.stages import examples

    layout = Layout(workspace, params.dataset)
    if not layout.metrics.is_file():
        return "Nothing was evaluated in this workspace yet."
    registered = read_json(layout.registration)
    aliases = ", ".join(registered["aliases"]) or "no alias"
    parts = [
        words(workspace, params).rstrip(),
        "Three users:",
        examples(workspace, params).rstrip(),
        f"Registered: {registered['name']} version {registered['version']} ({aliases})",
        f"Report:     {layout.report}",
        "Next:       make ui opens MLflow and Prefect; idiom recommend ITEM_ID asks the champion",
    ]
    return "\n\n".join(parts[:3]) + "\n\n" + "\n".join(parts[3:])
