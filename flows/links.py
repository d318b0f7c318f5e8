"""Addresses of MLflow's pages on which a person should land: the runs of this data set, and its registered model.

MLflow 3.17 opens a fresh browser in its mode for prompts and traces, in which neither is in sight; `workflowType` in
the address chooses the one for training. The server is asked over HTTP, as importing MLflow takes three CPU seconds.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
import webbrowser
from typing import Any
from urllib.parse import quote, urlencode

_TRAINING = {"workflowType": "machine_learning"}
_VIEW = "answer"
"""The saved view that `register` makes (components/registry/view.py)."""


def runs_page(address: str, experiment: str) -> str:
    """The table of runs, with the columns of the answer where they are saved; all experiments before there is one."""
    found = _asked(f"{address}/api/2.0/mlflow/experiments/get-by-name?{urlencode({'experiment_name': experiment})}")
    if found is None:
        return f"{address}/#/experiments?{urlencode(_TRAINING)}"
    tags = {tag["key"] for tag in found["experiment"].get("tags", [])}
    view = {"viewStateShareKey": _VIEW} if f"mlflow.sharedViewState.{_VIEW}" in tags else {}
    return f"{address}/#/experiments/{found['experiment']['experiment_id']}/runs?{urlencode(_TRAINING | view)}"


def model_page(address: str, model: str) -> str:
    """The registered model with its versions and aliases; the list of models, where it is none yet."""
    found = _asked(f"{address}/api/2.0/mlflow/registered-models/get?{urlencode({'name': model})}")
    return f"{address}/#/models{f'/{quote(model)}' if found else ''}?{urlencode(_TRAINING)}"


def version_page(address: str, model: str, version: int) -> str:
    """One version of a registered model."""
    return f"{address}/#/models/{quote(model)}/versions/{version}?{urlencode(_TRAINING)}"


def open_in_browser(address: str) -> bool:
    """Open a page where there is a screen to open it on, or a browser is named (BROWSER); whether it was opened."""
    screen = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return (screen or "BROWSER" in os.environ) and webbrowser.open(address)


def _asked(url: str) -> Any:
    """The server's answer; None where there is no such thing, or the server wants to know who asks."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError):
        return None
