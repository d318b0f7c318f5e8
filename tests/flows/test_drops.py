"""`idiom ingest --append` and `idiom forget` in a workspace with its real DVC."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml

from components.data.drops.store import Store
from components.settings.file import load
from components.storage.layout import Layout
from flows.drops import append_drop, forget_ids
from tests.workspaces import command, make_workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo shop after `ingest`, committed."""
    root = make_workspace(tmp_path_factory.mktemp("drops"))
    assert command(root, "dvc", "repro", "ingest").returncode == 0
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "x"], cwd=root, check=True)
    return root


def drop_of(root: Path, user: str, count: int = 40) -> Path:
    """A drop of new purchases, of one user, one after the other."""
    table = pl.read_parquet(Layout(root, "demo").interactions)
    items = table["item_id"].unique().sort().head(count)
    last = table["timestamp"].max()
    rows = [
        {"user_id": user, "item_id": item, "timestamp": f"{last:%Y-%m-%d}T23:00:{number % 60:02d}Z"}
        for number, item in enumerate(items)
    ]
    path = root / f"{user}.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def history(root: Path, user: str) -> int:
    return pl.read_parquet(Layout(root, "demo").interactions).filter(pl.col("user_id") == user).height


def test_a_drop_is_in_dvc_and_the_graph_takes_it_in(shop: Path) -> None:
    """Prevents: a drop that DVC does not know, so that a clone or a bucket lacks it; a graph that does not see it."""
    done = command(shop, "idiom", "ingest", "--append", str(drop_of(shop, "NEW1")))
    assert done.returncode == 0 and "40 added" in done.stdout, done.stderr
    assert command(shop, "dvc", "status", "data/drops/demo.dvc").stdout.strip() == "Data and pipelines are up to date."
    assert command(shop, "idiom", "ingest").returncode == 0
    assert history(shop, "NEW1") == 40
    deps = yaml.safe_load((shop / "dvc.lock").read_text())["stages"]["ingest"]["deps"]
    assert "data/drops" in [dep["path"] for dep in deps]
    again = command(shop, "dvc", "repro", "ingest")
    assert "Stage 'ingest' didn't change, skipping" in again.stdout + again.stderr


def test_dvc_is_told_again_where_it_was_not(shop: Path) -> None:
    """Prevents: a command that was killed between the rename and `dvc add` leaving the two apart for ever."""
    params, store = load(shop / "params.yaml"), Store.of(shop, "demo")
    append_drop(shop, params, str(drop_of(shop, "NEW2")), print)
    known = shop / "data" / "drops" / "demo.dvc"
    after, before = known.read_text(), len(store.drops())
    known.write_text(after.replace("md5: ", "md5: 0"))
    append_drop(shop, params, str(drop_of(shop, "NEW2")), print)  # the same one: nothing new, and DVC knows it again
    assert (known.read_text(), len(store.drops())) == (after, before)


def test_a_deletion_leaves_the_tables_and_the_scores(shop: Path) -> None:
    """Prevents: a deleted user in tables that the next night's retraining would have made anew, or in old scores."""
    user = pl.read_parquet(Layout(shop, "demo").interactions)["user_id"][0]
    scores = Layout(shop, "demo").root / "score"
    scores.mkdir()
    pl.DataFrame({"user_id": [user], "item_ids": [["P1"]]}).write_parquet(scores / "part-0.parquet")
    said: list[object] = []
    assert forget_ids(shop, load(shop / "params.yaml"), "user", [user], by="ada", say=said.append) == 0
    assert history(shop, user) == 0 and not scores.exists()
    record = (shop / "data" / "drops" / "demo" / "forgotten.json").read_text()
    assert user not in record and '"by": "ada"' in record
    assert any("deleted 1 users" in str(line) for line in said)


def test_nobody_named_is_refused(shop: Path) -> None:
    """Prevents: a deletion of nothing that looks done."""
    done = command(shop, "idiom", "forget")
    assert done.returncode == 2 and "nobody and nothing is named" in done.stderr
