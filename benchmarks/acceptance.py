"""Does the gate of promotion do on real data what it is there for? Every step by the commands that a person types.

    python -m benchmarks.acceptance ../shared/data/amazon-beauty                       # 3,000 users, an hour on a core
    python -m benchmarks.acceptance ../shared/data/amazon-beauty --users 800 --small   # some ten minutes

In a clone of this repository (its last commit) two settings are trained and registered, a ranker over the graph alone
and one over all voices. `idiom compare` makes their page; the better one is promoted, the worse one refused. Then come
versions that must be refused, each for its own reason:

- `shuffled_ids`: every ID is another item's, in the trained pair and in all that goes with it;
- `leaked_split`: the test targets stand in the histories, in training and in evaluation;
- `leaked_tables`: the same model, evaluated on the honest histories.

At last `idiom rollback`, and `idiom reproduce` of the champion. Prints one JSON line: `steps` with each verdict and its
reasons, `as_expected` in total, and exits with 1 where a step went otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from benchmarks.machine import facts
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST, write_manifest
from components.textid.table.id_table import IdTable

ROOT = Path(__file__).resolve().parents[1]
WEAKER = {"voices": ["graph"], "evidence": ["graph"]}
"""Settings of the ranker; the other version has the defaults."""
SMALL = {
    "size": "d_model=64,layers=1,heads=2,d_ff=128",
    "rounds": 1,
    "generator": {"cold_start_steps": 100},
    "recommender": {"epochs": 2, "valid_users": 200},
}


class Shop:
    """A workspace and what was done in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_TRACKING"))}
        self._environment = {**own, "PATH": path, "PYTHONPATH": str(folder)}

    @property
    def layout(self) -> Layout:
        return Layout(self.folder, yaml.safe_load((self.folder / "params.yaml").read_text())["dataset"])

    def run(self, *words: str) -> str:
        """What a command prints. Raises `SystemExit` with its end where it fails."""
        print(f"{time.strftime('%H:%M:%S')} {' '.join(words)}", file=sys.stderr)
        done = subprocess.run(words, cwd=self.folder, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def idiom(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "flows.cli", *words)

    def stages(self, *names: str) -> None:
        """Run stages past DVC, which would make honest inputs again."""
        for name in names:
            self.run(sys.executable, "-m", "components", name)

    def settings(self, **changes: Any) -> None:
        path = self.folder / "params.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))

    def promote(self, what: str, *, champion: str | None, accepted: bool, rule: str | None = None) -> str:
        """`idiom promote` the newest version, or `what` as a number; note the verdict beside the expected one."""
        version = what if what.isdigit() else str(json.loads(self.layout.registration.read_text())["version"])
        self.idiom("promote", version)
        files = (self.layout.root / "promote").glob(f"*-{version}/decision.json")
        decision = json.loads(max(files, key=lambda file: file.stat().st_mtime).read_text())
        refusals = {each["rule"]: each["text"] for each in decision["reasons"] if not each["passed"]}
        self.note(
            f"promote {what}",
            (decision["champion"], decision["accepted"]) == (champion, accepted) and (rule is None or rule in refusals),
            version=version,
            champion=decision["champion"],
            accepted=decision["accepted"],
            refused_by=refusals,
            difference=next(each["text"] for each in decision["reasons"] if each["rule"] == "champion"),
        )
        return version

    def note(self, step: str, as_expected: bool, **found: Any) -> None:
        self.steps.append({"step": step, "as_expected": as_expected, **found})
        print(json.dumps(self.steps[-1]), file=sys.stderr)


def shuffle_ids(layout: Layout, seed: int) -> None:
    """Give every ID to another item: in the pair, in the published table and in the ranker, with new manifests."""
    table = IdTable.load(layout.id_table)
    order = np.random.default_rng(seed).permutation(len(table))
    words = tuple(table.words[at] for at in order)
    shuffled = IdTable(table.item_ids, words, tuple(table.token_ids[at] for at in order))
    for folder in (layout.pair, layout.hybrid):
        manifest = json.loads((folder / MANIFEST).read_text())
        shuffled.save(folder / "id_table.parquet")
        write_manifest(folder, **{name: each for name, each in manifest.items() if name != "files"})
    shuffled.save(layout.id_table)


def leak(layout: Layout) -> None:
    """Put every test target into its user's training history, before the last item."""
    histories, targets = pl.read_parquet(layout.histories), pl.read_parquet(layout.test_targets)
    joined = histories.join(targets.select("user_id", "target"), on="user_id", how="left", maintain_order="left")

    def with_one_more(column: str, value: pl.Expr) -> pl.Expr:
        kept = pl.col(column).list.head(pl.col(column).list.len() - 1)
        longer = pl.concat_list(kept, value, pl.col(column).list.tail(1))
        return pl.when(pl.col("target").is_not_null()).then(longer).otherwise(column).alias(column)

    times = pl.col("timestamps").list.tail(1)
    leaked = joined.with_columns(with_one_more("history", pl.concat_list("target")), with_one_more("timestamps", times))
    leaked.select(histories.columns).write_parquet(layout.histories)


def accept(shop: Shop, data: Path, *, users: int, small: bool) -> None:
    """All steps, in order."""
    shop.idiom("init", str(data.resolve()), "--sample-users", str(users))
    given = yaml.safe_load((shop.folder / "params.yaml").read_text())
    train = {**(given.get("train") or {}), **(SMALL if small else {})}
    shop.settings(rank=WEAKER, train=train, register={"model_name": "idiom"})
    shop.run("git", "add", "-A")
    author = ["-c", "user.name=acceptance", "-c", "user.email=acceptance@localhost"]
    shop.run("git", *author, "commit", "-qm", "settings of the acceptance")
    shop.idiom("repro")
    worse = shop.promote("first", champion=None, accepted=True)
    shop.settings(rank={})
    shop.idiom("repro")
    said = shop.idiom("compare", "champion", "challenger")
    pages = [Path(line.split()[1]) for line in said.splitlines() if line.startswith("page")]
    shop.note("compare", bool(pages) and pages[0].is_file(), said=said.splitlines()[:2])
    better = shop.promote("better", champion=worse, accepted=True)
    shop.promote(worse, champion=better, accepted=False, rule="champion")

    layout, seed = shop.layout, int(given["seed"])
    shuffle_ids(layout, seed)
    shop.stages("evaluate", "register")
    shop.promote("shuffled_ids", champion=better, accepted=False, rule="own words")
    shop.run("dvc", "checkout", "--force")

    honest = layout.histories.with_suffix(".honest")
    shutil.copyfile(layout.histories, honest)
    leak(layout)
    shop.stages("train", "index", "rank", "evaluate", "register")
    shop.promote("leaked_split", champion=better, accepted=False, rule="taught")
    shutil.move(honest, layout.histories)
    shop.stages("evaluate", "register")
    shop.promote("leaked_tables", champion=better, accepted=False, rule="tables")
    shop.run("dvc", "checkout", "--force")

    back = shop.idiom("rollback", "--why", "acceptance").strip()
    shop.note("rollback", f"version {better} -> version {worse}" in back, said=back)
    made = shop.idiom("reproduce", "champion").splitlines()
    equal = [line for line in made if line.startswith("equal")]
    shop.note("reproduce", not [line for line in made if line.startswith("other")] and bool(equal), said=equal)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data folder, as `idiom init` takes it")
    parser.add_argument("--users", type=int, default=3000, help="users of the sample")
    parser.add_argument("--small", action="store_true", help="a language model that trains in a minute")
    parser.add_argument("--into", type=Path, help="keep the workspace in this new folder")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="idiom-acceptance-") as scratch:
        folder = given.into or Path(scratch) / "shop"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        shop = Shop(folder.resolve())
        accept(shop, given.data, users=given.users, small=given.small)
    expected = all(each["as_expected"] for each in shop.steps)
    found = {"benchmark": "acceptance", "as_expected": expected, "steps": shop.steps, "data": given.data.name}
    seconds = round(time.monotonic() - started)
    print(json.dumps({**found, "users": given.users, "small": given.small, "seconds": seconds, **facts()}))
    return 0 if expected else 1


if __name__ == "__main__":
    raise SystemExit(main())
