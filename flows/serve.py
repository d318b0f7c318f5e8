"""`idiom serve`: `mlflow models serve` of the version behind an alias, from this environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from components.processes.child import STOP_SECONDS, run_to_end
from components.settings.params import Params
from flows.servers import free_address


def serve(workspace: Path, params: Params, *, host: str, port: int, alias: str, say: Callable[[str], None]) -> int:
    """Serve until Ctrl-C; returns the exit code. Raises `BadInput` for an alias without a version or a port in use."""
    from components.registry.bundle import DIGEST
    from components.registry.champion import served_model
    from components.registry.store import tracking_uri

    address = free_address("--port", port)
    model, digest = served_model(workspace, params, alias=alias)  # refuses now what the server would say in its log
    say(f"models:/{params.register.model_name}@{alias} answers at {address}/invocations in about ten seconds. Ask it:")
    say(f"""  curl -s {address}/invocations -H 'Content-Type: application/json' """)
    say("""    -d '{"dataframe_records": [{"history": ["ITEM_ID", "ITEM_ID"], "k": 5}]}'""")
    say("Ctrl-C ends it.")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", str(model), "--host", host, "--port", str(port)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri(workspace), DIGEST: digest}
    code = run_to_end(command, cwd=workspace, environment=environment, group=True, grace=STOP_SECONDS)
    return 0 if code == 130 else code  # Ctrl-C is how it is meant to end
