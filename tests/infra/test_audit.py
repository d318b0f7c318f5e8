"""`make audit` and `make sbom`: what is known of the pins, what the environment is made of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.audit import audit

ONE = {"id": "GHSA-0000", "aliases": [], "affected": [{"package": {"name": "left", "ecosystem": "PyPI"}, "ranges": [
    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]}], "summary": "bad", "details": "bad",
    "published": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z"}  # fmt: skip


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV does: `left` has one, the others none."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": [ONE]} if asked["package"]["name"] == "left" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.slow
def test_what_is_known_is_said_and_silence_is_no_clean_bill(tmp_path: Path) -> None:
    """Prevents: an audit that passes as it could not ask anybody."""
    pins = tmp_path / "constraints.txt"
    pins.write_text("left==1.0\nright==2.0\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/v1/query"
        try:
            code, lines = audit(pins, "--osv-url", address)
            assert (code, lines[-1]) == (1, "2 pins checked, 1 known vulnerabilities")
            assert lines[0] == "left 1.0: GHSA-0000, mended in 1.1"
            pins.write_text("right==2.0\n")
            assert audit(pins, "--osv-url", address) == (0, ["1 pins checked, 0 known vulnerabilities"])
        finally:
            server.shutdown()
            thread.join()
    code, lines = audit(pins, "--osv-url", address)
    assert code == 2 and lines[0].startswith("error: nothing was checked")


@pytest.mark.slow
def test_the_bill_of_materials_has_every_pinned_package(repository: Path, tmp_path: Path) -> None:
    """Prevents: a bill that is valid and lacks what is installed."""
    (line,) = re.findall(r"\tcyclonedx-py (.+)", (repository / "Makefile").read_text())
    out = tmp_path / "sbom.json"
    words = line.replace("build/sbom.json", str(out)).replace(".venv/bin/python", sys.executable).split()
    program = Path(sys.executable).with_name("cyclonedx-py")
    done = subprocess.run([program, *words], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["bomFormat"] == "CycloneDX" and found["metadata"]["component"]["name"] == "idiom"
    names = {each["name"].lower().replace("_", "-"): each["version"] for each in found["components"]}
    for package in ("prefect", "mlflow", "torch", "swift", "polars"):
        assert names[package]
