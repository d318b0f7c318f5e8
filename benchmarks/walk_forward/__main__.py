"""Is an update each month as good as training anew, and what does it cost? Walk-forward in global time.

    python -m benchmarks.walk_forward amazon-beauty --category Nails --work work/walk     # goes on where it was
    python -m benchmarks.walk_forward amazon-beauty --on valid --rows continual rate=0.5,epochs=8,kl=0.1 scratch
    python -m benchmarks.walk_forward amazon-beauty --quick                                # minutes, means nothing

The first 60 % of the events are the base; four windows of 10 % follow. A row is ready when a window begins, knowing
what is earlier: histories, idf, graph. Its catalogue has the items bought until the window ends, as a shop lists an
item before it is sold. Items count from their first event on and users with three (the data set itself is a 5-core over
its whole log). Every event of a window is predicted from all that its user did before it, seen items masked; events of
a day are in a drawn order.

Rows: `frozen` (base model, base catalogue), `add_items` (IDs for new items, no training), `voices` (item graph and text
built anew), `finetuned` (each window from the one before, without replay and divergence), `replayed` and `held` (with
one of the two), `continual` (with both: the defaults of `train.continual`), `scratch` (all anew, IDs too), and any
other settings as `rate=0.5,epochs=8,replay=0.2,kl=0.1`. In window 1 all but `voices` are the base model.

`--on valid` chooses settings without a look at the windows that count: the base is the first 50 %, the update the next
10 %, and window 1 is asked, in which otherwise all rows are one model.

Prints one JSON line: `windows.N.ROW` with `ndcg_at_10`, `recall_at_10`, `last_ndcg_at_10` (the last event of each user
alone), `cpu_seconds` and `target_tokens` of being made ready, `id_churn` against the window before, `slices`; and over
the later windows `ratio_ndcg_to_scratch` with its 95 % interval (users drawn again), `ratio_compute_to_scratch` (CPU
seconds), `ratio_tokens_to_scratch`, and `forgetting`: window 1 asked of the last models again,
which have been taught its events by then.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.shop import read, settings
from benchmarks.walk_forward.rows import ROWS, Walk, update
from benchmarks.walk_forward.table import forgetting, ratios, said
from benchmarks.walk_forward.windows import WINDOWS, Timeline
from components.processes.environment import prepare

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    prepare()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder of --data, such as amazon-beauty")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--category", default="", help="a shop of the items of this category alone")
    parser.add_argument("--users", type=int, default=0, help="users of a sample (0: all)")
    parser.add_argument("--targets", type=int, default=1000, help="events asked in a window, by a hash (0: all)")
    parser.add_argument("--epochs", type=int, default=40, help="epochs from scratch")
    parser.add_argument("--batch-size", type=int, default=16, help="histories a step")
    parser.add_argument("--size", default="d_model=64,layers=2,heads=4,d_ff=192")
    parser.add_argument("--cold-start-steps", type=int, default=400)
    parser.add_argument("--beams", type=int, default=20)
    parser.add_argument(
        "--on", choices=("test", "valid"), default="test", help="valid: to choose settings of an update"
    )
    parser.add_argument("--windows", type=int, default=WINDOWS, help="the first so many windows")
    parser.add_argument("--rows", nargs="+", type=_row, default=ROWS)
    parser.add_argument("--work", type=Path, help="keeps models and answers, to go on when run again")
    parser.add_argument("--quick", action="store_true", help="200 users, two epochs")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.users, chosen.targets, chosen.epochs, chosen.cold_start_steps = 200, 60, 2, 20
        chosen.size, chosen.beams = "d_model=32,layers=1,heads=2,d_ff=64", 10
    with tempfile.TemporaryDirectory() as folder:
        result = measure(chosen, (chosen.work or Path(folder)).resolve())
    print(json.dumps({"benchmark": "walk_forward", "dataset": chosen.dataset, **result, **machine.facts()}))


def _row(name: str) -> str:
    if name not in ROWS and ("=" not in name or update(name) is None):
        raise argparse.ArgumentTypeError(f"no row {name!r}: one of {', '.join(ROWS)}, or settings of train.continual")
    return name


def measure(chosen: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What the result line has."""
    raw = chosen.data / chosen.dataset
    params = settings(ROOT / "params" / f"{chosen.dataset}-3000-users.yaml", raw)
    # An item counts from its first event on; of users `clean` asks for three.
    clean = replace(params.clean, sample_users=chosen.users, min_user_interactions=3, min_item_interactions=1)
    params = replace(params, clean=clean)
    train = replace(
        params.train,
        family="decoder-only",
        size=chosen.size,
        device="cpu",
        rounds=1,
        checkpoint_seconds=60.0,
        generator=replace(params.train.generator, cold_start_steps=chosen.cold_start_steps),
        recommender=replace(params.train.recommender, epochs=chosen.epochs, batch_size=chosen.batch_size),
    )
    with tempfile.TemporaryDirectory() as folder:
        shop = read(params, raw, Path(folder), "shuffle", chosen.category)
    timeline = Timeline.of(shop, seed=params.seed, asked=chosen.targets)
    base = 0 if chosen.on == "valid" else 1
    walk = Walk(timeline, replace(params, train=train), work, chosen.beams, base)
    asked = [1] if chosen.on == "valid" else list(range(1, chosen.windows + 1))
    windows = {window: {row: walk.answered(row, window) for row in chosen.rows} for window in asked}
    later = [rows for window, rows in windows.items() if window > base]
    again = [row for row in chosen.rows if row not in ("frozen", "voices")] if len(later) and base else []
    return {
        "category": chosen.category,
        "on": chosen.on,
        "users": len(timeline.sequences),
        "items": len(timeline.items),
        "events": len(timeline.sequences.values),
        "settings": {
            name: getattr(chosen, name) for name in ("size", "epochs", "batch_size", "beams", "cold_start_steps")
        },
        "windows": {
            str(window): {"events": len(timeline.cases(window)), **{name: said(each) for name, each in rows.items()}}
            for window, rows in windows.items()
        },
        **ratios(later, seed=params.seed),
        "forgetting": forgetting(walk.answered("scratch", 1), {row: walk.again(row, asked[-1]) for row in again})
        if again
        else {},
    }


if __name__ == "__main__":
    main()
