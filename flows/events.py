"""Events that the deployments of prefect.yaml are triggered by: `idiom.promoted`, `idiom.drift`.

    tell(PROMOTED, params.register.model_name, {"version": "12"}, warn=logger.warning)

The resource of each is the registered model. Without a Prefect server nothing is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.errors import first_line
from components.settings.params import Params
from components.storage.artifacts import read_json
from components.storage.layout import Layout

PROMOTED = "idiom.promoted"
"""Another version is champion."""
DRIFT = "idiom.drift"
"""The data have moved away from what the champion learned from."""


def resource(model: str) -> dict[str, str]:
    """The resource of a registered model in Prefect's events."""
    return {"prefect.resource.id": f"idiom.model.{model}", "prefect.resource.name": model}


def tell(event: str, model: str, payload: Mapping[str, Any], *, warn: Callable[[str], object]) -> bool:
    """Emit an event of a model on the server of PREFECT_API_URL; returns whether it was.

    What was done stands: a server that takes no event is warned of, and the schedules do the same a few hours later.
    """
    if "PREFECT_API_URL" not in os.environ:
        return False
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.events import Event
    from prefect.exceptions import PrefectException

    made = Event(event=event, resource=resource(model), payload=dict(payload))  # type: ignore[arg-type]
    try:
        # Not `emit_event`: its thread hides a refusal, and a command that ends at once would not wait for it.
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[made.model_dump(mode="json")])
    except (HTTPError, PrefectException) as error:
        warn(f"Prefect was not told of {event}: {first_line(error)}")
        return False
    return True


def tell_of_the_first(workspace: Path, params: Params, warn: Callable[[str], object]) -> None:
    """Emit `PROMOTED` where `register` has just made the first version champion; of later ones `idiom promote` does."""
    path = Layout(workspace, params.dataset).registration
    if path.is_file() and "champion" in (made := read_json(path))["aliases"]:
        tell(PROMOTED, made["name"], {"version": str(made["version"]), "dataset": params.dataset}, warn=warn)
