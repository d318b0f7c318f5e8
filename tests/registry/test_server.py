"""The real thing: an untrained pair, registered, served by `idiom serve` and `mlflow models serve`, asked over HTTP."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.errors import BadInput
from components.registry.bundle import assemble
from components.registry.champion import champion_bundle
from components.registry.evidence import of_bundle, serve_once
from components.registry.store import connect, tracking_uri
from components.settings.decoding import Decoding
from components.settings.file import from_dict
from components.storage.artifacts import publish_json, read_json
from tests.left_behind import Marked
from tests.registry.workspace import ITEMS, WORDS, build, register_untrained
from tests.workspaces import free_port

SERVE = ("flows.cli", "serve", "--workspace", ".")


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A workspace whose champion is an untrained pair."""
    workspace = tmp_path_factory.mktemp("served")
    (workspace / "mlflow.db").write_bytes(empty_store.read_bytes())
    register_untrained(workspace)
    return workspace


def expected(workspace: Path, histories: list[list[str]], k: int) -> list[list[str]]:
    """What the engine itself says."""
    from components.recommender.engine import Engine

    params = from_dict({"dataset": "tiny"})
    found = Engine.load(champion_bundle(workspace, params), device="cpu").recommend(histories, k, Decoding())
    return [[each.item_id for each in one] for one in found]


@pytest.mark.server
def test_the_registered_model_answers_as_the_engine_and_unpickles_nothing(registered: Path) -> None:
    """Prevents a served model that differs from the one evaluated, and any code that runs from a model file.

    In a fresh process outside the checkout, so that the copy of the code that was logged is what runs, and with an
    audit hook, which no import order escapes: it sees every class or function that any pickle asks for.
    """
    code = """
import json, sys
def audit(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError(f"unpickled {arguments}")
import mlflow.pyfunc, pandas as pd, torch, transformers
sys.addaudithook(audit)
model = mlflow.pyfunc.load_model("models:/idiom@champion")
import components
answers = model.predict(pd.DataFrame([{"history": ["i0", "i1"], "k": 3}, {"history": ["i5"], "k": 3}]))
print(json.dumps({"code": components.__file__, "answers": answers.to_dict("records")}))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_TRACKING_URI"] = tracking_uri(registered)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=registered,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "mlartifacts" in said["code"], "the logged copy of the code has to be what runs"
    assert [each["item_ids"] for each in said["answers"]] == expected(registered, [["i0", "i1"], ["i5"]], 3)


def until_it_answers(started: Marked, port: int) -> None:
    deadline = time.monotonic() + 600
    while True:
        assert started.process.poll() is None and time.monotonic() < deadline, started.log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)


@pytest.fixture(scope="module")
def serving(registered: Path) -> Iterator[tuple[str, Marked]]:
    """`idiom serve` on a free loopback port: its address, and the command."""
    port = free_port()
    started = Marked(*SERVE, "--port", str(port), cwd=registered)
    try:
        until_it_answers(started, port)
        yield f"http://127.0.0.1:{port}/invocations", started
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(timeout=60) == 0 and not started.left(10)
    finally:
        started.end()


@pytest.fixture(scope="module")
def by_mlflow(registered: Path) -> Iterator[str]:
    """`mlflow models serve` of the same model: its address."""
    port = free_port()
    model = ("-m", "models:/idiom@champion", "--env-manager", "local", "--port", str(port))
    started = Marked("mlflow", "models", "serve", *model, cwd=registered, MLFLOW_TRACKING_URI=tracking_uri(registered))
    try:
        until_it_answers(started, port)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        started.end()


@pytest.fixture(params=["serving", "by_mlflow"])
def either(request: pytest.FixtureRequest) -> str:
    """The address of each of the two: both keep one contract."""
    found = request.getfixturevalue(request.param)
    return str(found if isinstance(found, str) else found[0])


@pytest.fixture
def address(serving: tuple[str, Marked]) -> str:
    return serving[0]


def post(address: str, body: bytes | Iterable[bytes]) -> tuple[int, Any]:
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.server
def test_a_server_answers_with_words_titles_scores_and_a_sentence(registered: Path, either: str) -> None:
    """Prevents a model that is registered and cannot be served: missing code, requirements, or a wrong signature."""
    rows = [{"history": ["i0", "i1"], "k": 3}, {"history": ["nowhere"], "k": None}, {"history": ["i0"]}]
    status, found = post(either, json.dumps({"dataframe_records": rows}).encode())
    assert status == 200
    first, second, third = found["predictions"]
    assert [first["item_ids"]] == expected(registered, [["i0", "i1"]], 3)
    assert first["textual_ids"] == [WORDS[ITEMS.index(item)] for item in first["item_ids"]]
    assert len(first["titles"]) == len(first["scores"]) == 3
    assert first["scores"] == sorted(first["scores"], reverse=True)
    assert first["sentence"].startswith("After Title of i0 and Title of i1: ")
    assert (second["item_ids"], len(third["item_ids"])) == ([], 7)
    status, found = post(either, json.dumps({"inputs": [{"history": ["i0"]}]}).encode())
    assert (status, len(found["predictions"][0]["item_ids"])) == (200, 7)


@pytest.mark.server
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"dataframe_records": [{"history": ["i0"], "k": 0}]}', "`k` is 0"),
        (b'{"dataframe_records": [{"history": ["i0"], "k": 1000000}]}', "from 1 to 100"),
        (b'{"dataframe_records": [{"history": "i0", "k": 1}]}', "list"),
        (b'{"dataframe_records": [{"history": ["i0", null], "k": 1}]}', "holds None"),
        (b'{"dataframe_records": [{"items": ["i0"]}]}', "history"),
        (b'{"dataframe_records": [{"history": ["i0"]', "JSON"),
        (b"[]", "dataframe_records"),
        (b"[" * 50_000, "nested deeper"),
        (b'{"inputs": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested deeper"),
        (b'{"inputs": ' * 900 + b"1" + b"}" * 900, "nested deeper"),
        (b'{"dataframe_records": [{"history": ["i0"], "k": ' + b"9" * 5000 + b"}]}", "not valid JSON"),
        (b'{"dataframe_records": [{"history": ["\xff"]}]}', "not valid JSON"),
        (b'{"dataframe_records": 5}', ""),
        (b'{"dataframe_records": [5]}', ""),
        (b'{"dataframe_records": []}', ""),
        (b'{"dataframe_split": {"columns": 5, "data": "x"}}', ""),
        (b'{"dataframe_split": [1, 2]}', ""),
        (b'{"inputs": {"history": [["i0"], ["i1"]], "k": [1]}}', ""),
        (b'{"instances": "x"}', ""),
        (b'{"inputs": null}', ""),
        (b"null", "dataframe_records"),
        (b"", "not valid JSON"),
        (json.dumps({"dataframe_records": [{"history": ["i0"]}] * 1001}).encode(), "1,001 rows; at most 1,000"),
        (b'{"dataframe_records": [{"history": ' + b'"secret' + b"x" * 3_000_000 + b'"}]}', "not a list"),
        (b'{"dataframe_records": [' + b'"secret' + b"x" * 3_000_000, "not valid JSON"),
        (b'{"secret' + b"x" * 3_000_000 + b'": 1}', "dataframe_records"),
    ],
    ids=lambda value: (value[:40] + str(len(value)).encode()).decode("latin1") if isinstance(value, bytes) else "",
)
def test_a_malformed_request_is_answered_400_with_a_reason(either: str, body: bytes, what: str) -> None:
    """Prevents a 500 for a caller's mistake, and a server that dies of one; the next request is answered. Prevents an
    answer that holds the request again, 20 MB of it, or a traceback."""
    status, found = post(either, body)
    assert status == 400, found
    assert what in found["message"] and len(json.dumps(found)) < 1000
    assert set(found) == {"error_code", "message"} and "x" * 100 not in found["message"]
    assert post(either, b'{"dataframe_records": [{"history": ["i0"], "k": 1}]}')[0] == 200


@pytest.mark.server
def test_a_body_that_is_too_long_is_refused_unread(either: str) -> None:
    """Prevents a server whose memory anybody can fill. Sent in pieces, without a length, it is refused as well."""
    body = b'{"dataframe_records": [{"history": ["' + b"x" * 20_000_000 + b'"]}]}'
    for sent in (body, (body[start : start + 65536] for start in range(0, len(body), 65536))):
        status, found = post(either, sent)
        assert status == 413 and "4,194,304 bytes" in found["message"] and len(found["message"]) < 200


def serves(started: Marked) -> list[int]:
    """Numbers of the processes that answer; a watcher has its program's command in its own."""
    lines = started.living().items()
    return [number for number, line in lines if "components.serving" in line and "watcher.py" not in line]


@pytest.mark.server
def test_a_server_that_dies_is_started_again(serving: tuple[str, Marked]) -> None:
    """Prevents an outage until somebody looks: what is asked meanwhile waits for the next one, and is answered."""
    address, started = serving
    (server,) = serves(started)
    os.kill(server, signal.SIGKILL)
    deadline = time.monotonic() + 600
    while True:
        try:
            assert post(address, b'{"dataframe_records": [{"history": ["i0"], "k": 1}]}')[0] == 200
            break
        except (urllib.error.URLError, ConnectionError):  # it was accepted by the one that died
            assert time.monotonic() < deadline
    assert "the server died; another one starts" in started.log.read_text()
    (other,) = serves(started)
    assert other != server


@pytest.mark.server
@pytest.mark.slow
def test_a_killed_serve_leaves_nothing(registered: Path) -> None:
    """Prevents a server that answers for ever on a port whose command is gone."""
    for moment in (random.Random(11).uniform(0, 4), random.Random(13).uniform(4, 12)):
        started = Marked(*SERVE, "--port", str(free_port()), cwd=registered)
        try:
            time.sleep(moment)
            started.process.kill()
            assert not started.left(60), f"killed after {moment:.2f} s"
        finally:
            started.end()


def test_the_input_example_is_one_the_model_answers(registered: Path) -> None:
    """Prevents an example in MLflow's page that fails when it is tried."""
    import mlflow.pyfunc

    connect(registered)
    model = mlflow.pyfunc.load_model("models:/idiom@champion")
    assert model.predict(model.input_example)["item_ids"][0]


@pytest.mark.server
def test_a_clean_process_gives_the_lists_and_says_what_they_cost(registered: Path) -> None:
    """Prevents a promotion that trusts the process which trained: what is served is loaded and asked anew."""
    histories = [["i1", "i2"], ["i0"], ["i5", "i6", "i7"]]
    served = serve_once(registered, "idiom", "1", histories, k=5)
    assert served.lists == expected(registered, histories, 5)
    assert served.latency_ms > 0 and served.memory_mb > 100
    with pytest.raises(BadInput, match="cannot be served"):
        serve_once(registered, "idiom", "99", histories, k=5)


def test_a_bundle_tells_what_the_gates_ask(registered: Path, tmp_path: Path) -> None:
    """Prevents evidence that is made up: the contract is checked, churn is counted, validation is read from the log."""
    bundle = champion_bundle(registered, from_dict({"dataset": "tiny"}))
    (tmp_path / "other").mkdir()
    for path in ("id_table.parquet", "items.parquet"):
        (tmp_path / "other" / path).write_bytes((bundle / path).read_bytes())
    table = pl.read_parquet(bundle / "id_table.parquet")
    turned = table.with_columns(words=pl.col("words").shift(1).fill_null(table["words"][-1]))
    turned.write_parquet(tmp_path / "other" / "id_table.parquet")
    found = of_bundle(bundle, tmp_path / "other", metric="ndcg_at_10")
    assert found["broken_rules"] == [] and found["churn"] == 1.0 and found["validation"] is None
    assert found["bundle_mb"] == sum(each.stat().st_size for each in bundle.rglob("*") if each.is_file()) / 1e6
    assert of_bundle(bundle, bundle, metric="ndcg_at_10")["churn"] == 0.0
    shutil.copytree(bundle, tmp_path / "broken")
    turned.write_parquet(tmp_path / "broken" / "id_table.parquet")
    rows = [{"event": "epoch", "phase": "recommender", "valid_ndcg_at_10": each} for each in (0.1, 0.3, 0.2)]
    (tmp_path / "broken" / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    broken = of_bundle(tmp_path / "broken", None, metric="ndcg_at_10")
    assert broken["churn"] is None and broken["validation"] == 0.3
    assert len(broken["broken_rules"]) == 1 and "8 rows" in broken["broken_rules"][0]


@pytest.mark.parametrize(("mode", "had"), [("rank", 0.06), ("hybrid", 0.05), ("generate", None)])
def test_validation_is_that_of_who_answers(workspace: Path, mode: str, had: float | None) -> None:
    """Prevents: a ranker refused as too good beside the validation of the language model, which it leaves out."""
    layout, params = build(workspace)
    publish_json(layout.metrics, {**read_json(layout.metrics), "voices": {"mode": mode}})
    publish_json(layout.mode, {"mode": mode, "share": 0.2})
    figures = {"generate": 0.03, "rank": 0.06, "hybrid 0.1": 0.04, "hybrid 0.2": 0.05}
    publish_json(layout.rank_report, {"modes": {"ndcg_at_10": figures}})
    bundle = assemble(layout, params)
    assert of_bundle(bundle, None, metric="ndcg_at_10", contract=False)["validation"] == had
    assert of_bundle(bundle, None, metric="recall_at_10", contract=False)["validation"] is None
