"""benchmarks/adaptation.py is run on small shops, so that it cannot rot between the days on which someone measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import adaptation
from tests.foundation.shops import write_shop

TINY = "d_model=32,layers=1,heads=2,d_ff=64"


def test_a_curve_goes_on_where_it_was_and_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents a way that sees more users than were drawn, figures that are taken twice, and a picture of others."""
    for seed, name in enumerate(("alpha", "beta", "gamma")):
        write_shop(tmp_path / "data" / name, users=50, seed=seed)
    both = ["--data", str(tmp_path / "data"), "--start", str(tmp_path / "lm"), "--epochs", "1"]
    adaptation.main([*both, "--teach", "alpha", "beta", "--size", TINY])
    taught = json.loads(capsys.readouterr().out)["taught"]
    assert set(taught["catalogues"]) == {"alpha", "beta"}
    asked = [*both, "--targets", "gamma", "--users", "0", "6", "all", "--draws", "2", "--test-users", "20"]
    asked += ["--ways", "scratch", "full", "prompt", "--work", str(tmp_path / "curve"), "--foundation", "none"]
    adaptation.main([*asked, "--new-users", "--experts", str(tmp_path / "lm")])
    line = capsys.readouterr().out
    found = json.loads(line)
    curve, about = found["curve"]["gamma"], found["about"]["gamma"]
    assert list(curve) == ["0", "6", str(about["users"])] and about["test_users"] == 20
    ways = {"text", "graph", "graph_text", "scratch", "full", "full_after_1", "prompt", "prompt_after_5"}
    assert ways <= set(curve["6"]) and len(curve["6"]["full"]["draws"]) == 2 and len(curve["0"]["full"]["draws"]) == 1
    assert curve["0"]["full"] == curve["0"]["prompt"] and curve["0"]["scratch"]["ndcg_at_10"] is None
    assert curve["6"]["graph"]["ndcg_at_10"] < curve[str(about["users"])]["graph"]["ndcg_at_10"]
    assert set(found["forgotten"]["gamma"]) == {"full", "prompt"}
    assert found["experts"]["gamma"]["gates"] == {"alpha": 1.0}
    assert found["experts"]["gamma"]["over"]["joint"]["difference"] == 0.0, "the one expert is the start"
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "curve").rglob("done/*.json")}
    adaptation.main([*asked, "--new-users"])
    assert json.loads(capsys.readouterr().out)["curve"] == found["curve"]
    assert {path: path.stat().st_mtime_ns for path in done} == done
    (tmp_path / "line.json").write_text(line)
    drawn = []
    for name in ("one.svg", "two.svg"):
        adaptation.main(["--draw-from", str(tmp_path / "line.json"), "--figure", str(tmp_path / name)])
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1] and b"<svg" in drawn[0]
