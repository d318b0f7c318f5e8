"""`idiom adapt`: a bundle of one shop, adapted to another, judged beside what it was, and registered as its child."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from components import adapt as rooms
from components import stages
from components.errors import BadInput
from components.evaluation import adaptation
from components.evaluation.comparison.sides import read
from components.progress import Progress
from components.ranking.load import load as load_hybrid
from components.registry.answers import Answers
from components.registry.bundle import bundle_sha256
from components.registry.comparable import comparable
from components.registry.store import connect
from components.settings.file import from_dict, load
from components.settings.train import Train
from components.storage.layout import Layout
from components.storage.manifest import write_manifest
from flows.cli import app
from flows.initialise import initialise, settings_of
from tests.foundation.shops import write_shop
from tests.heard import Heard
from tests.registry.conftest import own_store  # noqa: F401 - every test has a store of its own
from tests.workspaces import MICRO, set_params

_TAUGHT = ("ingest", "validate", "views", "clean", "train", "index", "rank", "evaluate", "register")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the bundle of a small shop is version 1 of its model."""
    workspace = tmp_path_factory.mktemp("source")
    initialise(workspace, write_shop(workspace.parent / "alpha", users=60))
    set_params(workspace, {**MICRO, "clean": {}, "evaluate": {"ks": [5, 10], "beams": 10}})
    params = load(workspace / "params.yaml")
    for name in _TAUGHT:
        stages.run(name, workspace, params)
    return workspace


@pytest.fixture(scope="module")
def foundation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foundation ranker that another small shop taught."""
    root = tmp_path_factory.mktemp("taught")
    said("foundation", write_shop(root / "beta", users=60, seed=5), "--out", root / "foundation")
    return root / "foundation"


def said(*command: object) -> list[str]:
    """What a command that succeeds prints."""
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert "MLFLOW_TRACKING_URI" not in os.environ, "the store of this command is not that of the next"
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_a_bundle_is_adapted_to_another_shop(source: Path, foundation: Path, tmp_path: Path) -> None:
    """Prevents IDs of the old shop, figures without what they are better than, and a version that hides its origin."""
    raw, out = write_shop(tmp_path / "gamma", users=50, seed=3, brands=False), tmp_path / "out"
    before = Layout(source, "alpha")
    asked = [before.bundle, raw, "--way", "prompt", "--epochs", "1", "--source", source / "alpha", "--register"]
    asked += ["--foundation", foundation, "--curve", "all,0,12", "--draws", "2", "--curve-ways", "prompt scratch"]
    asked += ["--steps", "7"]
    lines = said("adapt", *asked, "--workspace", source, "--out", out)
    layout = Layout(out, "gamma")
    report = json.loads(layout.adapted.read_text())
    facts = json.loads((layout.pair / "pair.json").read_text())
    steps = -(-facts["train"]["recommender"]["batch_size"] * 7 // len(pl.read_parquet(layout.histories)))
    assert load(out / "params.yaml").train.continual.epochs == steps > 1, "seven steps of sixteen users"
    own = report["language_model"]
    assert report["taught_by"] == ["alpha"] and own["users"] == 50
    hybrid = load_hybrid(layout.hybrid)
    assert len(hybrid.ranker.networks) == 3, "its own, the foundation's, and the foundation's by texts alone"
    assert "text_words" in hybrid.reader.voices
    assert own["difference_low"] <= own["difference"] <= own["difference_high"]
    assert own["difference"] == pytest.approx(own["adapted"] - own["start"], abs=2e-6)
    assert {"item_graph", "popularity"} <= set(report["baselines"])
    assert (layout.bundle / "soft_prompt.safetensors").is_file() and (layout.bundle / "hybrid").is_dir()
    (version,) = connect(source).search_model_versions("name = 'idiom-gamma'")
    assert version.tags["idiom.start"] == f"idiom-alpha version 1, bundle {bundle_sha256(before.bundle)[:16]}"
    assert version.tags["idiom.taught_by"] == "alpha, gamma"
    card = layout.model_card.read_text()
    assert "Taught by" in card and "alpha, gamma" in card and "Forgotten of alpha" in card
    (forgotten,) = report["forgotten"].values()
    assert forgotten["users"] > 30 and list(report["forgotten"]) == ["alpha"]
    whole, curve = str(len(pl.read_parquet(layout.histories))), adaptation.read(layout.curve, layout.metrics)
    assert list(curve["curve"]) == ["0", "12", whole] and len(curve["curve"]["12"]["few_shot"]["draws"]) == 2
    ways = {"text", "graph", "graph_text", "foundation", "own_ranker", "few_shot", "prompt", "scratch"}
    assert set(curve["curve"]["12"]) == ways and set(curve["curve"]["0"]) == {
        "text",
        "graph_text",
        "foundation",
        "prompt",
    }
    graph = [curve["curve"][users]["graph"]["ndcg_at_10"] for users in ("12", whole)]
    assert graph[0] < graph[1], "twelve users know less than all"
    headline = json.loads(layout.headline.read_text())["ndcg_at_10"]
    assert curve["answers"]["ndcg_at_10"] == pytest.approx(headline, abs=1e-4)
    assert curve["test_users"] == own["users"] and "With fewer users" in layout.report.read_text()
    client = connect(source)
    assert "curve.json" in {each.path for each in client.list_artifacts(version.run_id)}
    assert "Adaptation curve" in card
    kept = comparable(source, replace(load(out / "params.yaml"), dataset="gamma"), version.run_id)
    assert read(kept.folder, name="adapted").curve == curve
    assert any(line.startswith("adapted") and "taught by alpha" in line for line in lines)


def test_a_curve_over_more_users_than_there_are_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a point that says 5,000 and knows 50, or one that is left out, after an hour of training; a relative
    `--out`, which Great Expectations does not take."""
    monkeypatch.chdir(tmp_path)
    raw, bundle = write_shop(tmp_path / "gamma", users=50, seed=3), Layout(source, "alpha").bundle
    for asked, said_so in (("10,5000", "5,000 users is asked for, of 50"), ("1.5", "no number"), ("ten", "no number")):
        result = CliRunner().invoke(app, ["adapt", str(bundle), str(raw), "--out", "out", "--curve", asked])
        assert result.exit_code == 2 and said_so in result.output and "--curve" in result.output
        assert not Layout(tmp_path / "out", "gamma").pair.is_dir()


def test_experts_answer_together(source: Path, tmp_path: Path) -> None:
    """Prevents experts that are asked with each other's IDs, and a recommender that nobody can load or serve."""
    before = Layout(source, "alpha").bundle
    other = tmp_path / "beta"
    shutil.copytree(before, other, ignore=shutil.ignore_patterns("manifest.json"))
    write_manifest(other, kind="bundle", dataset="beta")
    out, raw = tmp_path / "out", write_shop(tmp_path / "gamma", users=50, seed=3, brands=False)
    lines = said("experts", raw, before, other, "--out", out)
    report = json.loads((out / "experts.json").read_text())
    assert report["gates"] == {"alpha": 0.5, "beta": 0.5} and report["over"]["beta"]["difference"] == 0.0
    (answer,) = Answers.of(out / "recommender")([["i00", "i01"]], [3])
    assert len(answer["item_ids"]) == 3 and not {"i00", "i01"} & {*answer["item_ids"]}
    assert sum("gate 0.50" in line for line in lines) == 2
    assert rooms.averaged([before, other], tmp_path).is_dir()


def test_what_is_no_bundle_is_no_expert(source: Path, tmp_path: Path) -> None:
    """Prevents: a shop that is read and cleaned first, and `dvc repro` as the mend of a wrong folder."""
    before, params = Layout(source, "alpha").bundle, from_dict({"dataset": "gamma"})
    for folders, said in (([before, tmp_path], "no bundle"), ([before, before], "two experts are called alpha")):
        with pytest.raises(BadInput, match=said):
            rooms.experts(tmp_path / "out", params, folders, Progress())
    assert not (tmp_path / "out").exists()


def test_settings_are_those_of_the_pair_but_for_the_place() -> None:
    """Prevents a training elsewhere with settings of this place, and a params.yaml that repeats every default."""
    theirs = {
        "family": "decoder-only",
        "size": "micro",
        "ranks": 4,
        "refit": True,
        "gone": 1,
        "recommender": {"lr": 0.1},
    }
    found = rooms.adapting({"train": theirs, "index": {"max_tokens": 7}}, "work/bundles/a", "lora", epochs=2)
    assert found["train"] == {
        **{"family": "decoder-only", "size": "micro", "recommender": {"lr": 0.1}, "lora_rank": 8},
        **{"start": "work/bundles/a", "start_elsewhere": True, "continual": {"epochs": 2, "kl": 0.0}},
    }
    assert from_dict(yaml.safe_load(yaml.safe_dump(found))).train.lora_rank == 8
    with pytest.raises(BadInput, match="full, lora, prompt"):
        rooms.way_of("soft")


def test_what_is_suggested_for_a_training_from_nothing_does_not_count(tmp_path: Path) -> None:
    """Prevents: a decoder-only model of 128 numbers, as `idiom init` suggests on a CPU, that is to go on from an
    encoder-decoder's weights: refused after the tables were made, at every way to type the command."""
    raw = write_shop(tmp_path / "gamma", users=50, seed=3)
    pair = {"train": {"family": "encoder-decoder", "size": "micro"}, "index": {}}
    more = rooms.adapting(pair, "work/bundles/a", "full", epochs=1)
    settings_of(raw, tmp_path / "suggested", lambda line: None, keep=False)
    params = settings_of(raw, tmp_path / "out", lambda line: None, keep=False, more=more)
    assert (params.train.family, params.train.size) == ("encoder-decoder", "micro")
    assert params.train.recommender == Train().recommender and params.train.start == "work/bundles/a"
    if shutil.which("nvidia-smi") is None:
        assert load(tmp_path / "suggested" / "params.yaml").train.family == "decoder-only"


def test_settings_mended_by_hand_are_kept(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a guess of the files that was mended by hand and is there again, without a word, at the next run; and
    settings that are kept for another bundle than they go on from."""
    bundle, raw, out = (
        Layout(source, "alpha").bundle,
        write_shop(tmp_path / "gamma", users=50, seed=3),
        tmp_path / "out",
    )
    other = tmp_path / "other"
    shutil.copytree(bundle, other, ignore=shutil.ignore_patterns("manifest.json"))
    write_manifest(other, kind="bundle", dataset="other")

    def enough(*_: object) -> None:
        raise BadInput("enough", where="here", mend="none")

    monkeypatch.setattr(rooms, "prepare", enough)
    for command in (["adapt", bundle, raw], ["experts", raw, bundle, other]):
        line = [str(part) for part in [*command, "--out", out / command[0]]]
        file = out / command[0] / "params.yaml"

        def run(*more: str, line: list[str] = line) -> str:
            result = CliRunner().invoke(app, [*line, *more])
            assert result.exit_code == 2
            return result.output

        assert "enough" in run() and "--keep" in run()
        file.write_text(file.read_text().replace("seed: 17", "seed: 18"))
        kept = run("--keep")
        assert "as they stand" in kept and "enough" in kept and load(file).seed == 18
        assert load(file).train == load(file.with_name("params.yaml.bak")).train
        run()
        assert load(file).seed == 17
    wrong = CliRunner().invoke(app, ["adapt", str(other), str(raw), "--out", str(out / "adapt"), "--keep"])
    assert wrong.exit_code == 2 and "not of what is adapted: train.start is" in wrong.output


def test_sources_are_looked_at_before_anything_is_trained(source: Path, tmp_path: Path) -> None:
    """Prevents: a mistyped source that is met after hours of training, and two of one name of which one is reported."""
    bundle, raw, out = (
        Layout(source, "alpha").bundle,
        write_shop(tmp_path / "gamma", users=50, seed=3),
        tmp_path / "out",
    )
    for sources, said_so in (
        ([source / "alpha", source / "alpha"], "two sources are called alpha"),
        ([tmp_path / "none"], "a source has no prepared tables"),
    ):
        more = [str(part) for each in sources for part in ("--source", each)]
        result = CliRunner().invoke(app, ["adapt", str(bundle), str(raw), "--out", str(out), *more])
        assert result.exit_code == 2 and said_so in result.output
        assert not (out / "params.yaml").exists()


def test_an_expert_of_several_shops_is_said_to_be_gated_by_one(source: Path, tmp_path: Path) -> None:
    """Prevents: a gate that is low as it goes by the texts of the first of an expert's shops, and nobody says so."""
    several = tmp_path / "several"
    shutil.copytree(Layout(source, "alpha").bundle, several, ignore=shutil.ignore_patterns("manifest.json"))
    facts = json.loads((several / "pair.json").read_text())
    (several / "pair.json").write_text(json.dumps({**facts, "catalogues": {"alpha": {}, "beta": {}}}))
    write_manifest(several, kind="bundle", dataset="alpha")
    heard = Heard()
    params = from_dict({"dataset": "gamma"})
    with pytest.raises(BadInput, match="no bundle"):
        rooms.experts(tmp_path / "out", params, [several, tmp_path], Progress([heard]))
    assert any("alpha was taught beta too, and is gated by the texts of alpha alone" in line for line in heard.said)
