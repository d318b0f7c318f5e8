"""Several catalogues, one model: the commands of their stages, and both ways to run the whole graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.catalogues import remove_gone
from components.errors import BadInput
from components.settings.file import from_dict, load
from components.storage.layout import Layout
from components.training.key import train_key
from tests.workspaces import MICRO, command, lock_outs, make_workspace, set_params

SECOND = {"ingest": {"format": "demo", "path": "data/other"}, "clean": {"sample_users": 60}, "weight": 2.0}


def make_two_shops(root: Path) -> Path:
    """The demo, and a smaller shop of another seed."""
    make_workspace(root, {**MICRO, "catalogues": {"other": SECOND}})
    shop: dict[str, Any] = yaml.safe_load((root / "data/demo/shop.yaml").read_text())
    shop["seed"], shop["customers"]["number"] = 7, 400
    (root / "data/other").mkdir()
    (root / "data/other/shop.yaml").write_text(yaml.safe_dump(shop))
    return root


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"demo": SECOND}, "called demo, as the first one is"),
        ({"a.b": SECOND}, "called 'a.b'"),
        ({"toys": {**SECOND, "weight": 0}}, "leave the catalogue out"),
        ({"toys": {**SECOND, "wieght": 2}}, r"catalogues.toys.wieght \(did you mean weight\?\)"),
        ({"toys": {**SECOND, "clean": {"tie": "set"}}}, r"catalogues.toys.clean.tie \(did you mean ties\?\)"),
    ],
)
def test_a_wrong_catalogue_is_named(wrong: dict[str, Any], says: str) -> None:
    """Prevents a stage that DVC cannot name, two catalogues in one folder, and a key that is read by nobody."""
    with pytest.raises(Exception, match=says):
        from_dict({"catalogues": wrong})


def test_a_catalogue_has_its_own_data_and_the_model_of_all() -> None:
    """Prevents a shop that is cleaned as another one, or trained otherwise."""
    params = from_dict({"catalogues": {"toys": SECOND}, "train": {"rounds": 3}, "clean": {"ties": "set"}})
    own = params.of("toys")
    assert own.dataset == "toys" and own.ingest.path == "data/other" and own.clean.ties == "file"
    assert own.train == params.train and not own.catalogues
    with pytest.raises(Exception, match=r"train.user_id is set, and there are several catalogues"):
        from_dict({"catalogues": {"toys": SECOND}, "train": {"user_id": True}})
    with pytest.raises(Exception, match=r"train.neighbours.voice is set, and there are several catalogues"):
        from_dict({"catalogues": {"toys": SECOND}, "train": {"neighbours": {"voice": "graph"}}})


def test_what_a_removed_catalogue_left_is_not_learned_from(tmp_path: Path) -> None:
    """Prevents a training that DVC takes for unchanged, with a catalogue in it that nobody wants any more."""
    params = from_dict({"catalogues": {"toys": SECOND}})
    layout = Layout(tmp_path, "demo")
    for name in ("toys", "tools"):
        layout.taught_by(name).mkdir(parents=True)
        layout.judged_on(name).parent.mkdir(exist_ok=True)
        layout.judged_on(name).write_text("{}")
    layout.taught_by_first.write_text("{}")
    assert remove_gone(tmp_path, params) == ["tools"]
    assert layout.taught_by("toys").is_dir() and layout.judged_on("toys").is_file()
    assert layout.taught_by_first.is_file() and not layout.taught_by("tools").exists()
    assert remove_gone(tmp_path / "nowhere", params) == []


def test_a_training_without_the_tables_of_a_catalogue_is_refused(tmp_path: Path) -> None:
    """Prevents a traceback from a grid or a backfill, whose workspaces have one catalogue, and a model of one alone."""
    params = from_dict({"catalogues": {"toys": SECOND}})
    with pytest.raises(BadInput, match="what the catalogue toys teaches is missing"):
        train_key(Layout(tmp_path, "demo"), params)


@pytest.mark.slow
@pytest.mark.server
def test_two_shops_go_through_the_graph_both_ways(tmp_path: Path, warm_server: dict[str, str]) -> None:
    """Prevents a graph that DVC and Prefect read differently, figures of a shop that no page and no run shows, and one
    shop's stages that run again when the other's settings change."""
    root = make_two_shops(tmp_path / "two")
    done = command(root, "idiom", "repro", **warm_server)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(Layout(root, "demo").metrics.read_text())
    assert list(metrics["together"]["catalogues"]) == ["demo", "other"]
    assert "Over 2 catalogues the model has NDCG@10" in done.stdout
    assert "Catalogues of this model" in Layout(root, "demo").report.read_text()
    assert (Layout(root, "demo").bundle / "catalogues/other/id_table.parquet").is_file()
    logged = command(
        root,
        "python",
        "-c",
        "from pathlib import Path; from components.registry.store import connect;"
        "c = connect(Path('.')); e = [x.experiment_id for x in c.search_experiments()];"
        "print([k for r in c.search_runs(e) for k in r.data.metrics])",
    )
    for key in ("catalogues/ndcg_at_10", "catalogues/other/ndcg_at_10", "recommender/valid_ndcg_at_10_other"):
        assert repr(key) in logged.stdout, logged.stdout + logged.stderr
    before = lock_outs(root)

    again = command(root, "idiom", "retrain", **warm_server)
    assert again.returncode == 0, again.stdout + again.stderr
    assert lock_outs(root) == before and "15 of them cached" in again.stdout + again.stderr

    set_params(root, {"catalogues": {"other": {"clean": {"sample_users": 50}}}})
    changed = command(root, "idiom", "retrain", **warm_server)
    assert changed.returncode == 0, changed.stdout + changed.stderr
    after = lock_outs(root)
    assert after["artifacts/demo/clean/histories.parquet"] == before["artifacts/demo/clean/histories.parquet"]
    assert after["artifacts/other/clean/histories.parquet"] != before["artifacts/other/clean/histories.parquet"]
    assert after["artifacts/demo/train/pair"] != before["artifacts/demo/train/pair"]
    assert load(root / "params.yaml").catalogues["other"].clean.sample_users == 50
