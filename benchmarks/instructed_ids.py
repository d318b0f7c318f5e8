"""How long does an instruct model take to write IDs that nobody taught it, and how good are they beside a rule's?

    python -m components.networks.smollm2 work/smollm2-135m-instruct
    OMP_NUM_THREADS=1 python -m benchmarks.instructed_ids                  # 300 items of Beauty, one thread

Prints one JSON line: `items_per_cpu_second` of one thread, with the time of the process and not of the clock, so that
others on the machine count little; `extrapolated_minutes` of `extrapolated_items` on two cores, that is
items / (2 x items_per_cpu_second), measured on no such catalogue; and for both tables `mean_words`, `distinctiveness`
and `last_resort` (components/textid/table/quality.py). `ratio` is against the rule that `idiom zero-shot` follows
without a model, in items a second of CPU: what a user would otherwise use.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.generate_ids import item_texts
from components.errors import StageError
from components.foundation.ids import written
from components.sampling import hash_sample
from components.settings.params import Index

ROOT = Path(__file__).resolve().parents[1]
_WHOLE = 12_000
_SHOWN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writer", type=Path, default=ROOT / "work" / "smollm2-135m-instruct")
    parser.add_argument("--items", type=int, default=300)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    every, source = item_texts(chosen.items)
    ids = [str(number) for number in range(len(every))]
    rows = hash_sample(ids, chosen.items, "instructed ids/")
    ids, texts = [ids[row] for row in rows], [every[row] for row in rows]
    by_model, by_rule = measure(ids, texts, chosen.writer), measure(ids, texts, None)
    speed = by_model["items_per_cpu_second"]
    found = {
        "benchmark": "instructed_ids",
        "items": len(ids),
        "source": source,
        "model": by_model,
        "rule": by_rule,
        "ratio": round(speed / by_rule["items_per_cpu_second"], 6),
        "extrapolated_items": _WHOLE,
        "extrapolated_minutes": round(_WHOLE / speed / 2 / 60, 1),
    }
    print(json.dumps(found | machine.facts(), ensure_ascii=False))


def measure(ids: list[str], texts: list[str], writer: Path | None) -> dict[str, Any]:
    """One table."""
    started, cpu = time.perf_counter(), time.process_time()
    table, report, _ = written(ids, texts, Index(), writer=writer)
    used = time.process_time() - cpu
    kept = ("mean_words", "distinctiveness", "last_resort")
    return {
        "items_per_cpu_second": round(len(ids) / used, 3),
        "seconds": round(time.perf_counter() - started, 1),
        **{name: report[name] for name in kept if name in report},
        "examples": dict(zip((text[:60] for text in texts[:_SHOWN]), table.words[:_SHOWN], strict=True)),
    }


if __name__ == "__main__":
    try:
        main()
    except StageError as error:
        sys.exit(f"error: {error}")
