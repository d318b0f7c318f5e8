"""The table of runs as a reviewer should find it: a saved view of the experiment with the columns of the answer.

    publish_view(client, experiment, ["answer/ndcg_at_10", ...])
    # opened by /#/experiments/ID/runs?viewStateShareKey=answer, or from the menu *Views*

MLflow 3.17 keeps a saved view in a tag of the experiment; without one its table shows name, time, data set and source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.registry.names import ANSWER

if TYPE_CHECKING:
    from mlflow import MlflowClient

_WIDTH = 190
"""Pixels in which the name of a metric can be read."""
TAG = f"mlflow.sharedViewState.{ANSWER}"


def publish_view(client: MlflowClient, experiment: str, metrics: Sequence[str]) -> None:
    """Save the view: the newest training first, with these metrics as columns."""
    # Ends of intervals are on the run's page.
    columns = [f"metrics.`{name}`" for name in metrics if not name.endswith(("_low", "_high"))]
    state = {
        "selectedColumns": [*columns, "attributes.`Models`"],
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, _WIDTH),
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }
    # An envelope with a name; the times of making are MLflow's own, for its list of views.
    view = {"name": "The answer", "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    client.set_experiment_tag(experiment, TAG, json.dumps(view))
