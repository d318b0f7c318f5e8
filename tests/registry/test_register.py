"""Bundles, versions and aliases on a real MLflow store."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import BadInput, GateRefused
from components.evaluation import adaptation
from components.evaluation.comparison.sides import read
from components.registry.bundle import BUNDLE, assemble, verified
from components.registry.champion import PROVISIONAL, champion_bundle
from components.registry.comparable import comparable
from components.registry.register import register
from components.registry.store import behind_alias, connect
from components.registry.tracking import TrainingRun
from components.storage.artifacts import read_json
from components.storage.manifest import sha256
from components.textid.table.id_table import IdTable
from tests.evaluation.made_curve import curve
from tests.registry.workspace import build

KEY = "f00d" * 16


def test_the_same_bundle_is_registered_once(workspace: Path) -> None:
    """Prevents a new version every night for a model that did not change."""
    layout, params = build(workspace)
    first = register(params, layout)
    written = layout.registration.read_bytes()
    assert register(params, layout) == first
    assert layout.registration.read_bytes() == written
    assert [each.version for each in connect(workspace).search_model_versions("name = 'idiom'")] == [1]


def test_a_curve_that_was_taken_since_reaches_the_version(workspace: Path) -> None:
    """Prevents: an adaptation curve that only a version registered after it can have, and one of another evaluation."""
    layout, params = build(workspace)
    register(params, layout)
    client = connect(workspace)
    run = client.get_model_version("idiom", "1").run_id
    adaptation.publish(layout, curve("another evaluation's"))
    register(params, layout)
    assert "curve.json" not in {each.path for each in client.list_artifacts(run)}
    adaptation.publish(layout, curve(sha256(layout.metrics)))
    assert register(params, layout)["version"] == 1
    assert "curve.json" in {each.path for each in client.list_artifacts(run)}
    source = comparable(workspace, params, "1")
    assert read(source.folder, name="version 1").curve["users"] == 453


@pytest.mark.parametrize("rules", [{"min_quality": 1.0}, {"approval_hours": 1.0}])
def test_a_first_version_that_is_not_fit_is_no_champion(workspace: Path, rules: dict[str, float]) -> None:
    """Prevents a first model that is served though it is worthless, or though a reviewer has to approve it."""
    layout, params = build(workspace)
    strict = replace(params, promote=replace(params.promote, **rules))
    assert register(strict, layout)["aliases"] == ["challenger"]
    assert register(strict, layout)["aliases"] == ["challenger"], "the same bundle again"
    build(workspace, weights=b"other")
    assert register(params, layout)["aliases"] == ["champion"], "there was none"
    assert connect(workspace).get_model_version("idiom", "2").tags["idiom.promotion"] == PROVISIONAL


def test_the_first_version_is_champion_and_later_ones_challenge(workspace: Path) -> None:
    """Prevents an alias that moves to a new model unconditionally, which would serve a worse one the same night."""
    layout, params = build(workspace)
    assert register(params, layout)["aliases"] == ["champion"]
    served = champion_bundle(workspace, params)
    layout, params = build(workspace, weights=b"other weights")
    assert register(params, layout)["aliases"] == ["challenger"]
    layout, params = build(workspace, weights=b"third weights")
    assert register(params, layout) | {"headline": None, "bundle_sha256": None} == {
        "name": "idiom",
        "version": 3,
        "aliases": ["challenger"],
        "headline": None,
        "bundle_sha256": None,
    }
    client = connect(workspace)
    assert int(client.get_model_version_by_alias("idiom", "champion").version) == 1
    assert int(client.get_model_version_by_alias("idiom", "challenger").version) == 3
    kept = champion_bundle(workspace, params)
    assert kept != served, "the stage's output is another model by now"
    assert (kept / "recommender" / "model.safetensors").read_bytes() == b"weights"
    assert champion_bundle(workspace, params) == kept


def test_a_table_with_other_ids_than_the_pairs_is_not_bundled(workspace: Path) -> None:
    """Prevents a bundle whose recommender writes names that mean other items now."""
    layout, params = build(workspace)
    table = IdTable.load(layout.id_table)
    layout.id_table.unlink()
    IdTable(table.item_ids, table.words[1::-1] + table.words[2:], table.token_ids).save(layout.id_table)
    with pytest.raises(GateRefused, match=r"25\.0% of the items have other IDs"):
        assemble(layout, params)


def test_two_fresh_workspaces_publish_the_same_bytes(tmp_path: Path, empty_store: Path) -> None:
    """Prevents run ids, clocks or paths in outputs of the graph: `dvc repro` and the flow have to agree on hashes."""
    outputs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mlflow.db").write_bytes(empty_store.read_bytes())
        layout, params = build(tmp_path / name)
        register(params, layout)
        outputs.append((sha256(layout.bundle), layout.registration.read_bytes()))
    assert outputs[0] == outputs[1]


def test_a_reviewer_finds_everything_in_the_run_and_the_version(workspace: Path) -> None:
    """Prevents a version whose figures, data and code have to be looked for elsewhere."""
    layout, params = build(workspace)
    with TrainingRun(workspace, params, KEY) as sink:
        pass
    register(params, layout, description="The model LOSES to the item graph.")
    client = connect(workspace)
    run = client.get_run(sink.run_id)
    headline = read_json(layout.metrics)["masked"]
    for who, name in (("test", "model"), ("popularity", "popularity"), ("item_graph", "item_graph")):
        assert run.data.metrics[f"{who}/recall_at_5"] == headline[name]["recall_at_5"]
    assert "test_unmasked/recall_at_5" in run.data.metrics
    assert run.data.metrics["test/recall_at_5_low"] <= run.data.metrics["test/recall_at_5"]
    assert "LOSES" in run.data.tags["mlflow.note.content"]
    assert run.info.status == "FINISHED"
    paths = {each.path for each in client.list_artifacts(sink.run_id)}
    assert {"report.html", "plots", "metrics.json", "verdict.json", "params.json", "id_table_sample.json"} <= paths
    version = client.get_model_version("idiom", "1")
    assert version.run_id == sink.run_id
    assert version.tags[BUNDLE] == sha256(layout.bundle / "manifest.json")
    assert "LOSES" in version.description
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    assert "idiom" in logged.tags["mlflow.modelVersions"]
    assert {each.key: each.value for each in logged.metrics}["test/recall_at_5"] == headline["model"]["recall_at_5"]


def test_a_pair_from_the_cache_brings_its_losses(workspace: Path) -> None:
    """Prevents a run without a curve where DVC fetched the trained pair and this store never saw the training."""
    layout, params = build(workspace)
    register(params, layout)
    client = connect(workspace)
    run_id = client.get_model_version("idiom", "1").run_id
    losses = [(each.step, each.value) for each in client.get_metric_history(run_id, "recommender/loss")]
    assert losses == [(0, 2.0), (1, 1.9), (2, 1.8)]


def test_a_second_evaluation_of_a_pair_appends_nothing_to_the_table_of_ids(workspace: Path) -> None:
    """Prevents log_table, which appends, from doubling the sample of IDs."""
    import mlflow

    from components.settings.file import from_dict

    layout, params = build(workspace)
    register(params, layout)
    register(from_dict({"dataset": "tiny", "evaluate": {"ks": [2, 5], "beams": 9}}), layout)
    run_id = connect(workspace).get_model_version("idiom", "2").run_id
    table = mlflow.artifacts.load_dict(f"runs:/{run_id}/id_table_sample.json")
    assert len(table["data"]) == 8
    assert table["columns"] == ["item_id", "words", "title"]


def test_two_registrations_at_once_make_one_version(workspace: Path) -> None:
    """Prevents a double version when the schedule and a person start the same run; and seconds of torch where nothing
    is new (MLflow loads a model that it logs, to try the example of its input)."""
    build(workspace)
    code = (
        "from pathlib import Path; from components.storage.layout import Layout;"
        "from components.settings.file import from_dict;"
        "from components.registry.register import register;"
        "p = from_dict({'dataset': 'tiny', 'evaluate': {'ks': [2, 5]}});"
        "import sys; assert 'torch' not in sys.modules;"
        f"register(p, Layout(Path({str(workspace)!r}), 'tiny'))"
    )
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    racing = [subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment) for _ in range(2)]
    assert [process.wait(timeout=1800) for process in racing] == [0, 0]
    assert len(connect(workspace).search_model_versions("name = 'idiom'")) == 1


DIES = """
import os, sys
from pathlib import Path
import mlflow.tracking.client as tracking
from components.registry import register as module
from components.settings.file import from_dict
from components.storage.layout import Layout
def die(*_, **__):
    os.kill(os.getpid(), 9)
setattr(tracking.MlflowClient, sys.argv[2], die)
module.register(from_dict({"dataset": "tiny", "evaluate": {"ks": [2, 5]}}), Layout(Path(sys.argv[1]), "tiny"))
"""


@pytest.mark.parametrize("at", ["finalize_logged_model", "create_model_version", "set_registered_model_alias"])
def test_a_registration_that_died_leaves_no_copy_behind(workspace: Path, at: str) -> None:
    """Prevents a whole copy of the bundle for each kill, in a model that says PENDING for ever, a run that says RUNNING
    and a version that nobody serves as it has no alias."""
    layout, params = build(workspace)
    died = subprocess.run([sys.executable, "-c", DIES, str(workspace), at], capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    models = workspace / "mlartifacts" / "tiny" / "models"
    assert len(list(models.iterdir())) == 1, "the kill came before there was anything to leave"

    if at != "set_registered_model_alias":
        register(params, build(workspace, weights=b"other weights")[0])
        assert len(list(models.iterdir())) == 2, "what belongs to another bundle is not touched"
        build(workspace)
    alias = register(params, layout)["aliases"]
    client = connect(workspace)
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.info.status == "FINISHED"
    logged = client.search_logged_models([run.info.experiment_id])
    kept = {each.source.removeprefix("models:/") for each in client.search_model_versions("name = 'idiom'")}
    assert {each.model_id for each in logged} == kept
    assert {each.status.value for each in logged} == {"READY"}
    assert {each.name for each in models.iterdir() if (each / "artifacts").exists()} == kept
    assert alias == (["champion"] if at == "set_registered_model_alias" else ["challenger"])


def test_a_changed_pair_is_refused_and_the_old_bundle_stays(workspace: Path) -> None:
    """Prevents a bundle of weights that are not the ones that were trained and evaluated."""
    layout, params = build(workspace)
    assemble(layout, params)
    before = sha256(layout.bundle)
    (layout.pair / "recommender" / "model.safetensors").write_bytes(b"tampered")
    with pytest.raises(BadInput, match="differs from the manifest"):
        register(params, layout)
    assert sha256(layout.bundle) == before


def test_a_table_of_another_catalogue_is_refused(workspace: Path) -> None:
    """Prevents items without an ID, or IDs without an item, in production."""
    import polars as pl

    layout, params = build(workspace)
    pl.read_parquet(layout.id_table).head(5).write_parquet(layout.id_table)
    with pytest.raises(BadInput, match="different items"):
        assemble(layout, params)


@pytest.mark.parametrize("name", ["weights.pkl", "pytorch_model.bin", "modeling_custom.py"])
def test_a_bundle_with_a_pickle_or_code_in_it_is_refused(workspace: Path, name: str) -> None:
    """Prevents code that runs when somebody loads a model."""
    from components.storage.manifest import write_manifest

    layout, params = build(workspace)
    (layout.pair / name).write_bytes(b"")
    write_manifest(layout.pair)
    with pytest.raises(BadInput, match="neither code nor pickles"):
        assemble(layout, params)


def test_a_tampered_bundle_is_not_taken_for_the_champion(workspace: Path) -> None:
    """Prevents serving a file that was changed after registration."""
    layout, params = build(workspace)
    register(params, layout)
    (layout.bundle / "id_table.parquet").write_bytes(b"")
    with pytest.raises(BadInput, match="differs from the manifest"):
        champion_bundle(workspace, params)
    with pytest.raises(BadInput, match="not a model bundle"):
        verified(layout.pair)


def test_no_champion_says_what_to_do(workspace: Path) -> None:
    """Prevents mlflow's 'Registered Model with name=idiom not found' as the first thing a new user reads."""
    _, params = build(workspace)
    with pytest.raises(BadInput, match="idiom retrain"):
        champion_bundle(workspace, params)


def test_the_alias_is_read_without_mlflow_and_is_the_one_it_has(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: three CPU seconds of imports for one line of a table; a champion of yesterday; and a version that was
    deleted, or of another server, taken for it."""
    layout, params = build(workspace)
    digests = []
    for weights in (b"weights", b"other weights"):
        layout, params = build(workspace, weights=weights)
        digests.append(register(params, layout)["bundle_sha256"])
    client = connect(workspace)
    assert behind_alias(workspace, "idiom", "champion", BUNDLE) == ("1", digests[0])
    assert behind_alias(workspace, "idiom", "challenger", BUNDLE) == ("2", digests[1])
    client.set_registered_model_alias("idiom", "champion", "2")
    assert behind_alias(workspace, "idiom", "champion", BUNDLE) == ("2", digests[1])
    with monkeypatch.context() as patched:
        patched.setattr("components.registry.champion.connect", lambda _: pytest.fail("MLflow was asked"))
        assert champion_bundle(workspace, params) == layout.bundle
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert behind_alias(workspace, "idiom", "champion", BUNDLE) is None
    assert behind_alias(workspace, "idiom", "nobody", BUNDLE) is None
    assert behind_alias(workspace, "another", "champion", BUNDLE) is None
    client.delete_model_version("idiom", "2")
    assert behind_alias(workspace, "idiom", "champion", BUNDLE) is None
    with closing(sqlite3.connect(workspace / "mlflow.db")) as store:
        store.execute("ALTER TABLE registered_model_aliases RENAME TO of_another_version")
    assert behind_alias(workspace, "idiom", "champion", BUNDLE) is None
    (workspace / "mlflow.db").write_bytes(b"junk, and long enough")
    with pytest.raises(BadInput, match="no SQLite file"):
        behind_alias(workspace, "idiom", "champion", BUNDLE)


def test_a_long_description_is_cut_at_a_line(workspace: Path) -> None:
    """Prevents a registration that PostgreSQL refuses (5,000 characters) when somebody evaluates at many k."""
    layout, params = build(workspace)
    register(params, layout, description="a line of the table\n" * 1000)
    description = connect(workspace).get_model_version("idiom", "1").description
    assert len(description) <= 5000
    assert description.endswith("a line of the table\n…")


def test_a_full_disk_is_said_in_words_by_a_command(workspace: Path) -> None:
    """Prevents a traceback for `idiom recommend` where the champion's bundle does not fit on the disk; and "what was
    published before still stands" from a command that publishes nothing. The nearest thing to a full disk that needs no
    mount: no file may grow beyond some bytes, which the system refuses with EFBIG in place of ENOSPC."""
    layout, params = build(workspace)
    register(params, layout)
    (workspace / "params.yaml").write_text("dataset: tiny\n")
    shutil.rmtree(layout.bundle)  # it has to be fetched
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "recommend", "i0", "--workspace", str(workspace)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "error: File too large" in done.stderr and "mend:  make room on that disk" in done.stderr
    assert "stands" not in done.stderr
    assert not list((workspace / "work" / "bundles").glob("*"))
