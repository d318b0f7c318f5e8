"""What a scoring may replace, and what others left at its output or beside it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import BadInput
from components.progress import Progress
from components.scoring.output import refuse_others
from components.scoring.run import score_all
from components.scoring.score import score_shard
from components.scoring.settings import Scoring, work_folder
from components.scoring.shards import pending, prepare, publish
from components.storage.manifest import MANIFEST, write_manifest
from tests.scoring.scorings import USERS, content, score_here

DAMAGED = ("{", "[]", "\xff")


def scores_at(out: Path, manifest: str = json.dumps({"kind": "scores"})) -> None:
    out.mkdir()
    (out / "part-000000.parquet").write_text("rows")
    (out / MANIFEST).write_text(manifest, encoding="latin-1")


def found(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("what", ["workspace", "other artifact", "parts alone", "damaged", "file", "below a file"])
def test_what_is_no_scores_is_not_replaced(scoring: Scoring, what: str) -> None:
    """Prevents `--out .`, which put scores in place of a workspace, and a traceback where a file stands in the way.

    Nothing is computed, and nothing is written beside it either."""
    out = scoring.out
    if "file" not in what:
        scores_at(out, "{")
    if what == "workspace":
        (out / MANIFEST).unlink()
        (out / "params.yaml").touch()
    elif what == "other artifact":
        write_manifest(out, users=3, shards=1)
    elif what == "parts alone":  # Spark's, say
        (out / MANIFEST).unlink()
    elif what == "damaged":
        (out / "params.yaml").touch()
    else:
        out.touch()
        out = out / "below" / "it" if what == "below a file" else out
    before = found(scoring.out.parent)
    with pytest.raises(BadInput, match="give another --out"):
        score_all(replace(scoring, out=out), workers=1, progress=Progress())
    assert found(scoring.out.parent) == before


@pytest.mark.parametrize("name", ["model", "histories"])
def test_what_is_read_is_not_replaced(scoring: Scoring, tmp_path: Path, name: str) -> None:
    """Prevents scores in place of the model or the histories that they were made from, through a link as well."""
    scores_at(scoring.out)
    inside = scoring.out / "inside"
    source = getattr(scoring, name)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, inside)
    (tmp_path / "link").symlink_to(scoring.out)
    for out in (scoring.out, tmp_path / "link"):
        with pytest.raises(BadInput, match=r"would replace .*inside, which lies in it"):
            score_all(replace(scoring, out=out, **{name: inside}), workers=1, progress=Progress())
    assert inside.exists() and not work_folder(scoring.out).exists()


def test_scores_are_not_written_into_a_published_model(scoring: Scoring) -> None:
    """Prevents a bundle that is not what its manifest says any more, and that nobody can load again."""
    before = found(scoring.model)
    with pytest.raises(BadInput, match=r"inside of .*, which is published"):
        score_all(replace(scoring, out=scoring.model / "below" / "scores"), workers=1, progress=Progress())
    assert found(scoring.model) == before


@pytest.mark.parametrize("manifest", [*DAMAGED, json.dumps({"kind": "scores"})])
def test_nothing_and_scores_are_replaced(tmp_path: Path, manifest: str) -> None:
    """Prevents a nightly scoring that refuses yesterday's output, or one whose manifest is damaged."""
    refuse_others(tmp_path / "not" / "there")
    refuse_others(tmp_path)
    scores_at(tmp_path / "scores", manifest)
    refuse_others(tmp_path / "scores", tmp_path)


@pytest.mark.parametrize(
    ("name", "damage"), [*((MANIFEST, damage) for damage in DAMAGED), ("part-000003.parquet", "half")]
)
def test_damaged_scores_are_scored_again(
    scoring: Scoring, undisturbed: Path, name: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents half a manifest that blocks every later scoring, with advice to run a stage, and half a part that counts
    as scored already."""
    score_here(scoring)
    (scoring.out / name).write_text(damage, encoding="latin-1")
    monkeypatch.setattr("components.scoring.run.prepare", lambda *_: prepared(scoring))
    assert score_all(scoring, workers=1, progress=Progress()).manifest["users"] == USERS
    assert content(scoring.out) == content(undisturbed)


def prepared(scoring: Scoring) -> Path:
    """Its folder, all shards done, so that no worker has to be started."""
    folder = prepare(scoring, Progress())
    for number in pending(folder, print):
        score_shard(folder, number)
    return folder


def test_an_output_that_became_another_folder_meanwhile(scoring: Scoring) -> None:
    """Prevents an hour's scoring that replaces, at its end, what was put there after it had begun."""
    folder = prepared(scoring)
    scoring.out.mkdir()
    (scoring.out / "notes.txt").touch()
    with pytest.raises(BadInput, match=r"such as notes\.txt"):
        publish(folder)
    assert (scoring.out / "notes.txt").exists()
    (scoring.out / "notes.txt").unlink()
    assert publish(folder)["users"] == USERS


def test_what_a_kill_left_beside_the_output_is_removed(scoring: Scoring) -> None:
    """Prevents a copy of all scores for every kill -9 in the moment of publishing, for ever."""
    out = score_here(scoring)
    left, others = out.with_name(f".{out.name}.0123abcd.tmp"), out.with_name(f".{out.name}.daily.0123abcd.tmp")
    for folder in (left, others):
        scores_at(folder)
    assert score_all(scoring, workers=1, progress=Progress()).users == 0
    assert not left.exists() and others.exists()  # the other output may be written right now


@pytest.mark.parametrize("workers", [0, -1])
def test_a_team_of_nobody(scoring: Scoring, workers: int) -> None:
    """Prevents, for --workers 0, a scoring that ends without scores and says that shards are missing."""
    with pytest.raises(BadInput, match=f"workers is {workers}"):
        score_all(scoring, workers=workers, progress=Progress())
    assert not work_folder(scoring.out).exists()
