"""What do pictures, sounds and relations add to the ranker over text alone, overall and for items with few or no
training interactions, and are they better than the same views shuffled? No language model.

    python -m benchmarks.views_quality spotify-playlists
    python -m benchmarks.views_quality movielens-small-posters --seeds 17
    python -m benchmarks.views_quality demo-pictures                # whose right answer is known: docs/views.md
    python -m benchmarks.views_quality amazon-beauty --users 4000 --only text relations "relations shuffled"

Prints one JSON line: `rows.VARIANT.SLICE.METRIC`, means over the seeds of the ranker, of masked test lists by the
strict protocol (voices and ranker know all but a user's last two items); `beyond_text.VARIANT.SLICE.METRIC` with `mean`
and `interval` (95 %, bootstrap over users, of each user's mean over the seeds). Slices by the target: `all`, `cold` (no
training interaction), `few` (at most five). `voices.NAME` are voices alone. Text alone has every text column of the
items, so that a relation which stands there as a word already has to be worth more than that word. `says` judges each
view by its shuffled control. The data lies in ../shared/data (`--data`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.hybrid_quality import held_of
from benchmarks.shop import Shop, settings
from components.console import Console
from components.data.clean.clean import clean
from components.data.clean.itemtext import text_columns
from components.data.ingest.ingest import ingest
from components.evaluation.arrays import Cases
from components.evaluation.metrics import bootstrap, ndcg, recall
from components.progress import Progress, reporting
from components.ranking.lists import Lists
from components.ranking.reading import Reader
from components.ranking.teaching import choose, held_out
from components.ranking.views import shuffled, with_views
from components.settings.params import Params
from components.settings.views import Media
from components.settings.voices import Voices
from components.storage import vectors
from components.storage.artifacts import publish_json
from components.storage.layout import Layout
from components.storage.vectors import Vectors
from components.views.build import build
from components.voices.learned import Learned
from components.voices.lists import places
from components.voices.load import VIEW
from components.voices.load import build as voice_of

ROOT = Path(__file__).resolve().parents[1]
MEDIA = {
    "movielens-small-posters": {"poster": Media(files="images.zip")},
    "spotify-playlists": {"audio": Media(numbers=["audio"])},
    "amazon-sports": {"labels": Media(labels="image_labels")},
}
TEXT, SHUFFLED = "text", " shuffled"
METRICS = {"recall_at_20": lambda ranks: recall(ranks, 20), "ndcg_at_10": lambda ranks: ndcg(ranks, 10)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder of --data, such as spotify-playlists")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--users", type=int, default=0, help="teach and judge by so many users (0: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--only", nargs="+", help="variants, by name (default: all)")
    parser.add_argument("--pictures", choices=("colours", "efficientnet"), default="colours")
    parser.add_argument("--work", type=Path, help="a folder for artifacts, so that pictures are encoded once")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, reporting(Console()) as progress:
        result = measure(chosen, chosen.work or Path(folder), progress)
    print(json.dumps({"benchmark": "views_quality", "dataset": chosen.dataset, **result, **machine.facts()}))


def measure(chosen: argparse.Namespace, workspace: Path, progress: Progress) -> dict[str, Any]:
    raw = ROOT / "data" / "demo" if chosen.dataset == "demo-pictures" else chosen.data / chosen.dataset
    params = params_of(chosen, raw)
    shop, layout = read(params, raw, workspace, progress)
    asked = shop.cases(refit=False, on="valid", max_users=0, seed=params.seed)
    test = shop.cases(refit=False, on="test", max_users=chosen.users, seed=params.seed)
    columns = [name for name in text_columns(shop.items) if name not in ("text", "title")]
    voices = reading_all(params.voices, columns)
    views = vectors.load(layout.views, test.item_ids)
    variants = variants_of(views)
    if chosen.only:
        variants = {name: variants[name] for name in [TEXT, *chosen.only]}
    spoilt = {name + SHUFFLED: view for name, view in shuffled(views, params.seed).items()}
    used = {each for some in variants.values() for each in some}
    every = {name: view for name, view in (views | spoilt).items() if name in used}
    learned = replace(shop.learned(asked), seed=params.seed, views=every)
    # Read once with all views, shuffled ones among them: a variant is these lists without the others.
    lists = read_lists(learned, asked, test, params, voices, progress)
    ranks = {}
    for name, some in variants.items():
        ranks[name] = ranked(lists, params, chosen.seeds, [each for each in every if each not in some], progress)
    parts = slices(test)
    values = {name: {metric: of(each) for metric, of in METRICS.items()} for name, each in ranks.items()}
    return {
        "users": len(test.user_ids),
        "items": len(test.item_ids),
        "text_columns": ["title", *columns],
        "slices": {name: int(rows.sum()) for name, rows in parts.items()},
        "rows": {
            name: {part: {metric: _mean(each[:, rows]) for metric, each in of.items()} for part, rows in parts.items()}
            for name, of in values.items()
        },
        "beyond_text": beyond(values, parts, params.seed),
        "voices": alone(learned, test, voices, parts),
        "says": says(values, parts, views, params.seed),
    }


def params_of(chosen: argparse.Namespace, raw: Path) -> Params:
    params = settings(ROOT / "params" / f"{chosen.dataset}.yaml", raw)
    found = {name for name in ("kg.tsv.gz", "knowledge.tsv.gz") if (raw / name).is_file()}
    ingest_ = replace(
        params.ingest,
        relations=next(iter(found), None),
        quoting=params.ingest.quoting | ({"relations": "unquoted"} if found else {}),
        media=MEDIA.get(chosen.dataset, params.ingest.media),
    )
    rank = replace(params.rank, most_users=chosen.users or params.rank.most_users)
    return replace(params, ingest=ingest_, rank=rank, views=replace(params.views, pictures=chosen.pictures))


def reading_all(voices: Voices, columns: list[str]) -> Voices:
    """Voices of text that read every text column, as words and as whole values."""
    rich = replace(voices.text, words=["title", *columns])
    then = replace(voices.graph_then_text, text=replace(voices.graph_then_text.text, words=["title", *columns]))
    back = replace(voices.text_then_graph, text=replace(voices.text_then_graph.text, words=["title", *columns]))
    return replace(voices, text=rich, graph_then_text=then, text_then_graph=back).reading(columns)


def read(params: Params, raw: Path, workspace: Path, progress: Progress) -> tuple[Shop, Layout]:
    """Raw files -> clean tables and views, by the project's own stages."""
    import polars as pl

    layout = Layout(workspace, params.dataset)
    ingest(params.ingest, raw, layout)
    publish_json(layout.verdict, {"passed": True})  # whether the data would pass is not the question here
    build(params.views, params.ingest, raw, layout, seed=params.seed, progress=progress)
    clean(params.clean, params.seed, layout)
    tables = (layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets)
    items, histories, valid, test = (pl.read_parquet(path) for path in tables)
    return Shop(items, histories, valid, test, drop_repeats=params.clean.drop_repeats), layout


def variants_of(views: Iterable[str]) -> dict[str, list[str]]:
    """Variant -> its views: text has none; every view alone, and it shuffled; all, all but one, all shuffled."""
    names = list(views)
    found: dict[str, list[str]] = {TEXT: []}
    for name in names:
        found |= {name: [name], name + SHUFFLED: [name + SHUFFLED]}
    if len(names) > 1:
        found |= {"all views": names, f"all views{SHUFFLED}": [name + SHUFFLED for name in names]}
        found |= {f"all but {name}": [other for other in names if other != name] for name in names}
    return found


def read_lists(
    learned: Learned, asked: Cases, test: Cases, params: Params, voices: Voices, progress: Progress
) -> tuple[Lists, Lists, Lists]:
    """Lists of the inner hold-out, of validation and of the test, with every view of `learned`."""
    core = params.clean.min_item_interactions if params.clean.core == "all" else 0
    rank = with_views(params.rank, learned.views)
    left, held = held_out(learned)
    inner = Lists.read(Reader.build(left, rank, voices, core=core), held.some(rank.most_users, params.seed), progress)
    reader = Reader.build(learned, rank, voices, core=core)
    valid = Lists.read(reader, held_of(asked).some(rank.most_users, params.seed), progress)
    return inner, valid, Lists.read(reader, held_of(test), progress)


def ranked(
    lists: Sequence[Lists], params: Params, seeds: Sequence[int], left_out: Sequence[str], progress: Progress
) -> np.ndarray:
    """[seeds, users] masked ranks of the test targets by a ranker that hears no view of `left_out`."""
    inner, valid, test = (each.without(voices=[f"{VIEW}:{name}" for name in left_out]) for each in lists)
    found = []
    for seed in seeds:
        choice = choose([inner], valid, params.rank, seed=seed, masked=True, progress=progress)
        found.append(test.ranks(choice.ranker.scores(test.columns), masked=True))
    return np.stack(found)


def slices(test: Cases) -> dict[str, np.ndarray]:
    counts = test.counts[test.targets]
    found = {"all": np.ones(len(counts), bool), "cold": counts == 0, "few": counts <= 5}
    return {name: rows for name, rows in found.items() if rows.any()}


Values = Mapping[str, Mapping[str, np.ndarray]]


def by_user(values: np.ndarray) -> np.ndarray:
    """[users] mean over the seeds."""
    found: np.ndarray = values.mean(axis=0)
    return found


def beyond(values: Values, parts: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Each variant minus text alone, user by user."""
    found: dict[str, Any] = {}
    for part, rows in parts.items():
        for metric in METRICS:
            base = by_user(values[TEXT][metric])[rows]
            gains = {name: by_user(of[metric])[rows] - base for name, of in values.items() if name != TEXT}
            intervals = bootstrap(gains, seed=seed)
            for name, gain in gains.items():
                bounds = [round(float(each), 6) for each in intervals[name]]
                share = round(float(gain.mean() / base.mean()), 4) if base.mean() > 0 else None
                about = {"mean": round(float(gain.mean()), 6), "interval": bounds, "share_of_text": share}
                found.setdefault(name, {}).setdefault(part, {})[metric] = about
    return found


def says(values: Values, parts: Mapping[str, np.ndarray], views: Mapping[str, Vectors], seed: int) -> list[str]:
    """Of each view, by slice: whether it is better than the same view shuffled."""
    lines = []
    for name in [*views, "all views"]:
        if name not in values or name + SHUFFLED not in values:
            continue
        for part, rows in parts.items():
            gain = by_user(values[name]["recall_at_20"])[rows] - by_user(values[name + SHUFFLED]["recall_at_20"])[rows]
            low, high = (float(each) for each in bootstrap({name: gain}, seed=seed)[name])
            word = "better than" if low > 0 else "WORSE than" if high < 0 else "not to be told from"
            lines.append(f"{name}, {part}: {word} shuffled ({gain.mean():+.4f} recall@20, {low:+.4f} to {high:+.4f})")
    return lines


def alone(learned: Learned, test: Cases, voices: Voices, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Figures of the voice of text and of each view, which rank the whole catalogue."""
    found = {}
    for name in ("text", *(f"view:{view}" for view in learned.views)):
        voice = voice_of(name, learned, voices)
        ranks, start = [], 0
        for block, scores in voice.blocks(test.prompts, test.prompt_days):
            targets = test.targets[start : start + len(block)]
            ranks.append(places(scores, targets, least=voice.LEAST, excluded=block))
            start += len(block)
        whole = np.concatenate(ranks)
        found[name] = {
            part: {metric: _mean(of(whole)[rows]) for metric, of in METRICS.items()} for part, rows in parts.items()
        }
    return found


def _mean(values: np.ndarray) -> float:
    """Over users, and seeds before them."""
    return round(float(np.mean(values)), 6)


if __name__ == "__main__":
    main()
