"""Make the README's pictures: `python infra/screenshots.py` in a trained workspace, while `idiom ui` runs.

Takes the pages with a headless browser (Debian's chromium) and writes them to docs/images/ with 64 colours, so that
they stay small.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from PIL import Image

from components.settings.file import load
from components.storage.artifacts import read_json
from components.storage.layout import Layout

IMAGES = Path("docs/images")
MLFLOW, PREFECT = "http://127.0.0.1:5000", "http://127.0.0.1:4200"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> None:
    layout = Layout(Path().resolve(), load(Path("params.yaml")).dataset)
    registered = read_json(layout.registration)
    IMAGES.mkdir(parents=True, exist_ok=True)
    shoot("report", layout.report.as_uri(), size=(1100, 1240), crop=(0, 0, 1100, 1240))
    version = f"{MLFLOW}/#/models/{registered['name']}/versions/{registered['version']}"
    shoot("mlflow", version, size=(1400, 900), crop=(195, 0, 1035, 900))
    shoot("prefect", f"{PREFECT}/runs/flow-run/{newest_flow_run()}", size=(1400, 1000), crop=(255, 0, 1400, 700))


def newest_flow_run() -> str:
    """Id of the flow run that started last."""
    query = json.dumps({"sort": "START_TIME_DESC", "limit": 1}).encode()
    call = urllib.request.Request(f"{PREFECT}/api/flow_runs/filter", query, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=5) as answer:
        return str(json.load(answer)[0]["id"])


def shoot(name: str, address: str, *, size: tuple[int, int], crop: tuple[int, int, int, int]) -> None:
    """One page as docs/images/NAME.png."""
    path = IMAGES / f"{name}.png"
    with tempfile.TemporaryDirectory() as profile:
        window = f"--window-size={size[0]},{size[1]}"
        options = [window, f"--user-data-dir={profile}", "--virtual-time-budget=30000", f"--screenshot={path}"]
        subprocess.run(["chromium", *FLAGS, *options, address], check=True, capture_output=True, timeout=180)
    picture = Image.open(path).convert("RGB").crop(crop)
    picture.quantize(64).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
