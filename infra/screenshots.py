"""Takes the pictures of README.md and docs/review.md. Run it in a workspace with a champion and a challenger:

    python infra/screenshots.py WORKSPACE                # one in which `idiom retrain` has run with two settings
    python infra/screenshots.py WORKSPACE try mlflow     # these alone

It starts `idiom ui` and `idiom serve` on the workspace, walks through the pages in a headless Chromium (`make browser`)
and writes docs/images/NAME.png with 64 colours, so that they stay small.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from components.settings.file import load  # noqa: E402
from components.storage.artifacts import read_json  # noqa: E402
from components.storage.layout import Layout  # noqa: E402
from components.storage.thumbnails import Thumbnails  # noqa: E402
from tests.browser import launched  # noqa: E402

IMAGES = ROOT / "docs" / "images"
MLFLOW, PREFECT, SERVED = "http://127.0.0.1:5010", "http://127.0.0.1:4210", "http://127.0.0.1:5011"
COLOURS = 64
TRAINING = "workflowType=machine_learning"


class Walk:
    """A workspace, a browser, and the pictures that were asked for."""

    def __init__(self, workspace: Path, browser: Browser, wanted: list[str]) -> None:
        self.workspace, self.browser, self.wanted = workspace, browser, wanted
        self.params = load(workspace / "params.yaml")
        self.layout = Layout(workspace, self.params.dataset)
        self.client = _mlflow("registered-models/get", name=self.params.register.model_name)["registered_model"]

    @property
    def aliases(self) -> dict[str, str]:
        return {each["alias"]: each["version"] for each in self.client["aliases"]}

    def shoot(
        self,
        name: str,
        address: str,
        *,
        size: tuple[int, int] = (1280, 800),
        dark: bool = False,
        do: Callable[[Page], Any] | None = None,
        clip: tuple[int, int, int, int] | None = None,
    ) -> None:
        """One page as docs/images/NAME.png. do: what to click or wait for. clip: x, y, width, height."""
        if self.wanted and name not in self.wanted:
            return
        scheme: Any = "dark" if dark else "light"
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        page = context.new_page()
        page.goto(address, timeout=120_000)
        if do is not None:
            do(page)
        page.wait_for_timeout(1500)
        area: Any = None if clip is None else dict(zip(("x", "y", "width", "height"), clip, strict=True))
        picture = Image.open(BytesIO(page.screenshot(clip=area))).convert("RGB")
        context.close()
        path = IMAGES / f"{name}.png"
        picture.quantize(COLOURS).save(path, optimize=True)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB")

    def run_of(self, version: str) -> dict[str, str]:
        """`run_id` and `experiment_id` of a version."""
        found = _mlflow("model-versions/get", name=self.params.register.model_name, version=version)["model_version"]
        run = _mlflow("runs/get", run_id=found["run_id"])["run"]["info"]
        return {"run_id": run["run_id"], "experiment_id": run["experiment_id"]}


def walk(on: Walk) -> None:
    """All pictures, in the order of docs/review.md."""
    model = on.params.register.model_name
    champion = on.aliases["champion"]
    experiment = on.run_of(champion)["experiment_id"]
    run = f"{MLFLOW}/#/experiments/{experiment}/runs"
    on.shoot("report", on.layout.registered_report.as_uri(), size=(1100, 1240))
    table = f"{run}?{TRAINING}&viewStateShareKey=answer"
    on.shoot("mlflow-runs", table, size=(1400, 490), do=_seen("ndcg_at_10"), clip=_mlflows_own(490))
    version = f"{MLFLOW}/#/models/{model}/versions/{champion}?{TRAINING}"
    on.shoot("mlflow", version, size=(1400, 900), do=_seen("Promotion"), clip=_mlflows_own(900))
    newest = max(on.aliases.values(), key=int)
    card = f"{run}/{on.run_of(newest)['run_id']}/artifacts/model_card_{newest}.md?{TRAINING}"
    on.shoot("mlflow-card", card, size=(1400, 900), do=_card, clip=_mlflows_own(900))
    pages = sorted(on.layout.root.glob("promote/*/promotion.html"), key=lambda path: path.stat().st_mtime)
    decisions = [(path, read_json(path.with_name("decision.json"))["accepted"]) for path in pages]
    for name, accepted in (("promoted", True), ("refused", False)):
        if found := [path for path, so in decisions if so is accepted]:
            on.shoot(name, found[-1].as_uri())
            on.shoot(f"{name}-user", found[-1].as_uri(), do=_to("#lookup"), dark=True)
    before = on.aliases["previous"]
    page = f"promotion-{before}-{champion}.html"
    shown = f"{run}/{on.run_of(champion)['run_id']}/artifacts/comparison/{page}?{TRAINING}"
    on.shoot("mlflow-page", shown, size=(1400, 900), do=_without_path, clip=_mlflows_own(900))
    flow = _prefect("flow_runs/filter", sort="START_TIME_DESC", limit=1, flows={"name": {"any_": ["retrain"]}})[0]["id"]
    on.shoot("prefect", f"{PREFECT}/runs/flow-run/{flow}", size=(1400, 760), do=_seen("register"))
    asked = {"flow_run_id": {"any_": [flow]}, "key": {"any_": ["promotion"]}}
    if told := _prefect("artifacts/filter", artifacts=asked):
        address = f"{PREFECT}/artifacts/artifact/{told[0]['id']}"
        on.shoot(
            "prefect-decision", address, size=(1400, 620), do=_seen("Is the new version better"), clip=(0, 0, 1400, 392)
        )
    on.shoot("try", SERVED, size=(1280, 900), do=_tried)
    if on.layout.thumbnails.is_file() and Thumbnails.load(on.layout.thumbnails):
        on.shoot("try-pictures", SERVED, size=(720, 1300), do=_taken(collected(on.layout)), clip=(0, 240, 720, 1000))


def _seen(text: str) -> Callable[[Page], Any]:
    return lambda page: page.get_by_text(text).first.wait_for(timeout=90_000)


def _card(page: Page) -> None:
    page.get_by_text("Where it comes from").first.wait_for(timeout=90_000)
    _hide_path(page)


def _without_path(page: Page) -> None:
    """MLflow says in which folder of this machine an artifact lies."""
    page.wait_for_selector("iframe", timeout=60_000)
    _hide_path(page)


def _hide_path(page: Page) -> None:
    page.get_by_text("Path: ").first.evaluate("(each) => { each.style.visibility = 'hidden'; }")


def _mlflows_own(height: int) -> tuple[int, int, int, int]:
    """MLflow's page without its menu and its assistant."""
    return 195, 0, 845, height


def _to(selector: str) -> Callable[[Page], Any]:
    return lambda page: page.locator(selector).evaluate("(each) => each.scrollIntoView()")


def _tried(page: Page) -> None:
    """Two items of the demo shop, and what is recommended after them."""
    for words in ("coffee", "filter"):
        page.locator("#query").fill(words)
        page.locator("#found button").first.wait_for(timeout=60_000)
        page.locator("#found button").first.click()
    page.locator(".cards").first.wait_for(timeout=60_000)
    page.wait_for_timeout(8000)  # the challenger is loaded when the page is first asked
    page.locator("#history button").first.focus()
    page.locator("#history button").first.click()
    page.locator(".cards").nth(1).wait_for(timeout=60_000)


def collected(layout: Layout) -> list[str]:
    """Music boxes of the demo's collector who has most of them (params/demo-pictures.yaml)."""
    users, histories = pq.read_table(layout.histories, columns=["user_id", "history"]).to_pydict().values()
    boxes = [[item for item in history if item.startswith("M")] for history in histories]
    return max(zip(users, boxes, strict=True), key=lambda each: (len(each[1]), each[0]))[1]


def _taken(items: Sequence[str]) -> Callable[[Page], Any]:
    """These items, by id, and what is recommended after them."""

    def do(page: Page) -> None:
        for item in items:
            page.locator("#query").fill(item)
            page.locator("#found button", has_text=item).wait_for(timeout=60_000)
            page.locator("#found button", has_text=item).click()
        page.locator(".cards .picture").first.wait_for(timeout=60_000)

    return do


def _mlflow(path: str, **asked: str) -> Any:
    from urllib.parse import urlencode

    return _answer(urllib.request.Request(f"{MLFLOW}/api/2.0/mlflow/{path}?{urlencode(asked)}"))


def _prefect(path: str, **asked: Any) -> Any:
    body = json.dumps(asked).encode()
    headers = {"Content-Type": "application/json"}
    return _answer(urllib.request.Request(f"{PREFECT}/api/{path}", body, headers))


def _answer(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@contextmanager
def running(workspace: Path, ready: str, *words: str) -> Iterator[None]:
    """`idiom WORDS` in the workspace, once `ready` answers; it is stopped at the end."""
    command = [sys.executable, "-m", "flows.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(workspace)}
    with subprocess.Popen(command, cwd=workspace, env=environment, start_new_session=True) as process:
        try:
            until = time.monotonic() + 600
            while not _up(ready):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"idiom {' '.join(words)} does not answer at {ready}")
                time.sleep(0.5)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def main() -> None:
    workspace, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    IMAGES.mkdir(parents=True, exist_ok=True)
    ports = ("--mlflow-port", MLFLOW.rpartition(":")[2], "--prefect-port", PREFECT.rpartition(":")[2])
    ui = running(workspace, f"{PREFECT}/api/health", "ui", "--no-open", *ports)
    with ui, running(workspace, f"{SERVED}/ready", "serve", "--port", SERVED.rpartition(":")[2]), launched() as browser:
        while not _up(f"{MLFLOW}/health"):
            time.sleep(0.5)
        walk(Walk(workspace, browser, wanted))


if __name__ == "__main__":
    main()
