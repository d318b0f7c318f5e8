"""What does one language model of several shops cost each of them, beside a model of equal size of its own?

    python -m benchmarks.joint                                # params/foundation.yaml; killed, it goes on where it was
    python -m benchmarks.joint --against amazon-toys          # own models of some alone; of none: nothing is compared
    python -m benchmarks.joint --on valid --seeds 17 18 19    # the test set stays shut

Prints one JSON line: `catalogues.NAME` with `joint` and `own`, the mean NDCG@10 over seeds of the language model alone
(20 beams over the catalogue's own trie, its own items masked, all sampled users), `difference` (joint minus own) with
its 95 % interval, paired over the users of all seeds (each seed draws its sample of users), and `ratio`. The own model
has the same settings and the same number of epochs over its own data; the joint one goes through all samples so often,
shared out by the square root of a catalogue's size. `train_cpu_seconds` of both. The models stay in `--work`, where
benchmarks/foundation.py (`--bundle WORK/SEED/joint/artifacts/FIRST/train/pair`) and benchmarks/adaptation.py
(`--start WORK/SEED/joint`) take the joint one from.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from components import adapt, catalogues, stages
from components.processes.environment import prepare
from components.progress import Progress
from components.ranking.training import gains, paired
from components.recommender.engine import Engine
from components.settings.file import load
from components.settings.params import Params, to_dict
from components.storage.artifacts import publish_json, read_json
from components.storage.layout import Layout

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    prepare()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=ROOT / "params" / "foundation.yaml")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "joint", help="the models, kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[17])
    parser.add_argument("--on", choices=["test", "valid"], default="test", help="valid: the test set stays shut")
    parser.add_argument("--against", nargs="*", help="catalogues whose own models are trained (default: all; none)")
    chosen = parser.parse_args()
    params = load(chosen.params)
    names = [params.dataset, *params.catalogues]
    against = names if chosen.against is None else chosen.against
    if missing := sorted({*against} - {*names}):
        parser.error(f"--against {missing[0]}: not in {chosen.params.name}, which has {', '.join(names)}")
    seconds: dict[str, Any] = {}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in chosen.seeds:
        of_seed = replace(params, seed=seed)
        home = chosen.work / str(seed)
        seconds[str(seed)] = {"joint": taught(home / "joint", of_seed, chosen.data)}
        for name in against:
            alone = replace(of_seed, catalogues={}) if name == params.dataset else of_seed.of(name)
            seconds[str(seed)][name] = taught(home / name, alone, chosen.data)
            found[name].append(gained(home, name, seed, chosen.on))
    line = {"benchmark": "joint", "on": chosen.on, "params": chosen.params.name, "train_cpu_seconds": seconds}
    line["catalogues"] = {name: together(each) for name, each in found.items() if each}
    print(json.dumps(line | machine.facts()))


def taught(workspace: Path, params: Params, data: Path) -> float:
    """CPU seconds of the stages from raw files to the trained pair with its IDs, done once in a workspace."""
    done = workspace / "taught.json"
    if not done.is_file():
        _link(workspace, params, data)
        for stage in ("ingest", "validate", "views", "clean"):
            stages.run(stage, workspace, params)
            for name in params.catalogues if stage != "views" else ():
                catalogues.run(f"{stage}-of", workspace, params, name)
        (workspace / "params.json").write_text(json.dumps(to_dict(params)))
        began = sum(os.times()[:4])
        stages.run("train", workspace, params)
        stages.run("index", workspace, params)
        for name in params.catalogues:
            catalogues.run("index-of", workspace, params, name)
        publish_json(done, {"train_cpu_seconds": round(sum(os.times()[:4]) - began, 1)})
    return float(read_json(done)["train_cpu_seconds"])


def gained(home: Path, name: str, seed: int, on: str) -> dict[str, Any]:
    """NDCG@10 of each user, by the joint and by the own model."""
    file = home / f"{name}-{on}.json"
    if not file.is_file():
        both: dict[str, Any] = {}
        for way in ("joint", name):
            layout = Layout(home / way, name)
            asked = adapt.asked_by(layout, on=on, most_users=0, seed=seed)
            both["joint" if way == "joint" else "own"] = gains(
                adapt.ranks(Engine.load(layout.pair), asked, Progress())
            ).tolist()
        publish_json(file, both)
    return read_json(file)


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one catalogue over seeds; users of other seeds are other users, where a seed draws the sample."""
    each = {way: [np.asarray(one[way]) for one in seeds] for way in ("joint", "own")}
    joint, own = (float(np.mean([one.mean() for one in each[way]])) for way in ("joint", "own"))
    differences = np.concatenate([a - b for a, b in zip(each["joint"], each["own"], strict=True)])
    mean, low, high = paired(differences)
    found = {"joint": joint, "own": own, "difference": mean, "difference_low": low, "difference_high": high}
    rounded: dict[str, Any] = {name: round(value, 6) for name, value in found.items()}
    by_seed = {way: [round(float(one.mean()), 6) for one in each[way]] for way in each}
    return {**rounded, "ratio": round(joint / own, 4) if own else None, "users": len(each["own"][0]), "seeds": by_seed}


def _link(workspace: Path, params: Params, data: Path) -> None:
    """The raw files where the settings look for them."""
    of = {params.dataset: params.ingest.path} | {name: each.ingest.path for name, each in params.catalogues.items()}
    for name, path in of.items():
        link = workspace / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((data / name).resolve(), target_is_directory=True)


if __name__ == "__main__":
    main()
