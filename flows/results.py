"""What came of a run, read from its artifacts: the result table, the findings in words, where to look next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from components.artifacts import Layout, read_json
from components.params import Params

MLFLOW_PORT = 5000
PREFECT_PORT = 4200


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
        found["MLflow model"] = (
            f"{mlflow_address()}/#/models/{registered['model_name']}/versions/{registered['version']}"
        )
    return found


def mlflow_address() -> str:
    """Where MLflow answers in a browser: the server that is set, else the one that `idiom ui` starts."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri.rstrip("/") if uri.startswith("http") else f"http://127.0.0.1:{MLFLOW_PORT}"
