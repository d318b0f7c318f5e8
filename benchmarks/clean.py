"""How fast is `clean`, and how does its memory grow, against the same cleaning written in pandas?

    python benchmarks/clean.py            # 1e5 and 1e6 interactions, about a minute
    python benchmarks/clean.py --full     # 1e7 as well
    python benchmarks/clean.py --rows 20000

Prints one JSON line. Every figure comes from a fresh process; seconds run from the first byte read to the last one
written, without imports; the peak is that of the whole process, imports included. Both must write the same tables.
"""

from __future__ import annotations

import argparse
import html
import importlib.metadata
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.settings import params
from components.storage.artifacts import publish_json
from components.storage.layout import Layout

SETTINGS = params.Clean()
SLOGAN = "Free shipping on all orders."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", help="numbers of interactions")
    parser.add_argument("--full", action="store_true", help="1e7 interactions as well (minutes, several GB)")
    parser.add_argument("--step", choices=sorted(STEPS), help="run one step here (used by the benchmark itself)")
    parser.add_argument("--workspace", type=Path, default=Path())
    chosen = parser.parse_args()
    if chosen.step:
        print(json.dumps(STEPS[chosen.step](Layout(chosen.workspace, "synthetic"), (chosen.rows or [0])[0])))
        return
    sizes = chosen.rows or [100_000, 1_000_000, *([10_000_000] if chosen.full else [])]
    results = [measure(rows) for rows in sorted(sizes)]
    first, last = results[0], results[-1]
    growth = (last["peak_mib_polars"] / first["peak_mib_polars"]) / (last["rows"] / first["rows"])
    versions = {name: importlib.metadata.version(name) for name in ("polars", "pandas", "pyarrow")}
    facts = {"peak_growth_over_rows_growth": round(growth, 3), "cpu_count": os.cpu_count(), "versions": versions}
    print(json.dumps({"benchmark": "clean", **last, **facts, "sizes": results}))


def measure(rows: int) -> dict[str, Any]:
    """Rows per second and peak memory of both at `rows` interactions. This process stays small: a child's peak
    counts from the size of its parent."""
    with tempfile.TemporaryDirectory() as folder:
        facts = _in_fresh_process("make", folder, rows)
        results = {name: _in_fresh_process(name, folder, rows) for name in ("polars", "pandas")}
        _in_fresh_process("compare", folder, rows)
    per_second = {name: rows / result["seconds"] for name, result in results.items()}
    return {
        "rows": rows,
        **facts,
        **{f"rows_per_s_{name}": round(value) for name, value in per_second.items()},
        **{f"seconds_{name}": round(result["seconds"], 3) for name, result in results.items()},
        **{f"peak_mib_{name}": round(result["peak_mib"]) for name, result in results.items()},
        "ratio": round(per_second["polars"] / per_second["pandas"], 2),
        "equal": True,
    }


def _in_fresh_process(step: str, folder: str, rows: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--step", step, "--workspace", folder, "--rows", str(rows)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _timed(work: Callable[[], object]) -> dict[str, float]:
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def with_polars(layout: Layout, _: int) -> dict[str, float]:
    """What the project does."""
    from components.data.clean.clean import clean

    return _timed(lambda: clean(SETTINGS, 17, layout))


def with_pandas(layout: Layout, _: int) -> dict[str, float]:
    """What a user would write."""
    import pandas  # noqa: F401

    return _timed(lambda: _pandas_clean(layout))


def make(layout: Layout, size: int) -> dict[str, int]:
    """Synthetic canonical tables: ten interactions a user, sixteen an item with a long tail, text with dirt in it."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(17)
    users, items = max(size // 10, 10), max(size // 16, 20)
    numbers = pl.DataFrame({"n": np.arange(items), "copy": draw.random(items) < 0.02})
    text = pl.when(pl.col("copy")).then(pl.col("n") // 2).otherwise("n")
    dirt = [pl.lit("Soap &amp; Water"), pl.lit("<b>Brush</b>"), pl.lit("Towel\u200b  set"), pl.lit("Caf&eacute; cup")]
    kind = pl.coalesce(pl.when(text % 4 == number).then(value) for number, value in enumerate(dirt))
    slogan = pl.when(text % 5 < 2).then(pl.lit(f" {SLOGAN}")).otherwise(pl.lit(""))
    catalogue = numbers.select(
        item_id=pl.format("B{}", pl.col("n").cast(pl.String).str.zfill(9)),
        title=pl.format("{} number {}", kind, text),
        brand=pl.when(text % 10 == 0).then(pl.lit("N/A")).otherwise(pl.format("Brand {}", text % 997)),
        categories=pl.concat_list(pl.lit("Home &amp; Bath"), pl.format("Shelf {}", text % 53)),
        description=pl.format("Model {} of <i>our</i> house. Holds {} oz!{}", text, text % 64, slogan),
    )
    layout.items.parent.mkdir(parents=True)
    catalogue.write_parquet(layout.items)
    popular = np.minimum((items * draw.random(size) ** 1.5).astype(np.int64), items - 1)
    events = pl.DataFrame({"u": np.sort(draw.integers(0, users, size)), "i": popular})
    events.select(
        user_id=pl.format("U{}", pl.col("u").cast(pl.String).str.zfill(9)),
        item_id=pl.format("B{}", pl.col("i").cast(pl.String).str.zfill(9)),
        position=pl.int_range(pl.len(), dtype=pl.Int32).over("u"),
        timestamp=(pl.int_range(pl.len()).over("u") * 86_400_000_000).cast(pl.Datetime("us", "UTC")),
    ).write_parquet(layout.interactions)
    publish_json(layout.verdict, {"passed": True})
    return {"users": users, "items": items}


def compare(layout: Layout, _: int) -> dict[str, bool]:
    """Fails unless both wrote the same items, histories and targets."""
    import polars as pl

    for path in (layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets):
        ours, theirs = pl.read_parquet(path), pl.read_parquet(_beside(path))
        differ = [name for name in ours.columns if not ours[name].equals(theirs[name].cast(ours.schema[name]))]
        if differ or not theirs.height:
            raise SystemExit(f"{path.name}: polars and pandas differ in {differ}, or are empty")
    return {"equal": True}


def _beside(path: Path) -> Path:
    return path.with_name(f"pandas_{path.name}")


def _tidy(text: str | None) -> str | None:
    if not isinstance(text, str):
        return None
    before = None
    while text != before:
        before = text
        text = html.unescape(text)
        text = re.sub(r"(?is)<!--.*?-->|<script\b.*?</script\s*>|<style\b.*?</style\s*>", " ", text)
        text = re.sub(r"(?i)</?(?:b|i|em|strong|span)(?:\s[^<>]*)?/?>", "", text)
        text = re.sub(r"</?[A-Za-z][^<>]*>", " ", text)
        text = re.sub(r"[\u200b-\u200f\u2060\ufeff\u00ad]", "", text)
        text = " ".join(unicodedata.normalize("NFKC", text).split())
    return None if text.lower() in ("", "n/a", "none", "unknown", "-") else text


def _pandas_clean(layout: Layout) -> None:
    import pandas as pd

    rows, items = pd.read_parquet(layout.interactions), pd.read_parquet(layout.items)
    items = items[items["item_id"].isin(rows["item_id"])].sort_values("item_id")
    for name in ("title", "brand", "description"):
        items[name] = items[name].map(_tidy)
    items["categories"] = items["categories"].map(lambda parts: list(dict.fromkeys(_tidy(part) for part in parts)))
    sentences = items["description"].map(lambda text: re.findall(r".+?(?:[.!?]+\s+|$)", text))
    counts = Counter(sentence for text in sentences for sentence in {part.strip() for part in text})
    common = {sentence for sentence, count in counts.items() if count >= SETTINGS.boilerplate_share * len(items)}
    items["description"] = sentences.map(
        lambda text: _tidy("".join(part for part in text if part.strip() not in common))
    )
    named = items.assign(categories=items["categories"].map(", ".join))
    labelled = [f"{name}: " + named[name] for name in SETTINGS.text_fields]
    items["text"] = [
        ", ".join(part for part in parts if isinstance(part, str)) for parts in zip(*labelled, strict=True)
    ]
    items["kept"] = items.groupby("text")["item_id"].transform("min")

    rows = rows[rows["item_id"].isin(items["item_id"])]
    rows["item_id"] = rows["item_id"].map(items.set_index("item_id")["kept"])
    rows = rows.drop_duplicates(["user_id", "item_id"])
    while True:
        per_user = rows.groupby("user_id")["item_id"].transform("size")
        rows_left = rows[per_user >= SETTINGS.min_user_interactions]
        per_item = rows_left.groupby("item_id")["user_id"].transform("size")
        rows_left = rows_left[per_item >= SETTINGS.min_item_interactions]
        if len(rows_left) == len(rows):
            break
        rows = rows_left

    rows = rows.sort_values(["user_id", "position"])
    from_end = rows.groupby("user_id").cumcount(ascending=False)
    history = rows[from_end >= 2].groupby("user_id").agg(history=("item_id", list), timestamps=("timestamp", list))
    columns = ["user_id", "item_id", "timestamp"]
    valid, test = (rows[from_end == place][columns].reset_index(drop=True) for place in (1, 0))
    items[items["item_id"].isin(rows["item_id"])].drop(columns="kept").to_parquet(
        _beside(layout.items_clean), index=False
    )
    history.reset_index().to_parquet(_beside(layout.histories), index=False)
    names = {"item_id": "target", "timestamp": "timestamp"}
    for path, target, context, times in (
        (layout.valid_targets, valid, [[] for _ in range(len(valid))], [[] for _ in range(len(valid))]),
        (layout.test_targets, test, [[item] for item in valid["item_id"]], [[when] for when in valid["timestamp"]]),
    ):
        table = target.assign(context=context, context_timestamps=times).rename(columns=names)
        table.to_parquet(_beside(path), index=False)


STEPS: dict[str, Callable[[Layout, int], dict[str, Any]]] = {
    "make": make,
    "polars": with_polars,
    "pandas": with_pandas,
    "compare": compare,
}

if __name__ == "__main__":
    main()
