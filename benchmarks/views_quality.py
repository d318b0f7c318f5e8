"""What do pictures, sounds and relations add to the ranker over text alone, overall and for items with few or no
training interactions, and are they better than the same views spoilt? No language model.

    python -m benchmarks.views_quality spotify-playlists
    python -m benchmarks.views_quality movielens-small-posters --seeds 17
    python -m benchmarks.views_quality movielens-1m --users 3000 --taught 1000 --hidden 0.2
    python -m benchmarks.views_quality demo-pictures                # whose right answer is known: docs/views.md
    python -m benchmarks.views_quality amazon-beauty --users 3000 --only relations "relations shuffled" "brand rewired"

Prints one JSON line: `rows.VARIANT.SLICE.METRIC`, means over the seeds of the ranker, of masked test lists by the
strict protocol (voices and ranker know all but a user's last two items); `beyond_text.VARIANT.SLICE.METRIC` with `mean`
and `interval` (95 %, bootstrap over users, of each user's mean over the seeds). Slices by the target: `all`, `cold` (no
training interaction), `few` (at most five). `voices.NAME` are voices alone, `sums` the same of text and views in a sum
whose one factor validation chooses (`--seeds` without a number: those alone). Text alone has every text column of the
items, so that a relation which stands there as a word already has to be worth more than that word.
Variants: each view alone, all, all but one; `VIEW shuffled`, `VIEW constant`, `relations rewired`, all views shuffled;
of each relation `RELATION alone`, and `RELATION rewired` beside the others. `says` judges each by its control.
--hidden leaves events of a drawn share of the items out of every training history, and teaches the ranker with others
as if new (`rank.hidden_items`). The data lies in ../shared/data (`--data`).
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
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.shop import Shop, settings
from benchmarks.views_variants import CONTROLS, TEXT, made, variants_of
from components.console import Console
from components.data.clean.clean import clean
from components.data.clean.itemtext import text_columns
from components.data.ingest.ingest import ingest
from components.evaluation.arrays import Cases
from components.evaluation.metrics import bootstrap, ndcg, recall
from components.foundation.weights import with_views as with_weights
from components.progress import Progress, reporting
from components.ranking.lists import Lists
from components.ranking.reading import Reader
from components.ranking.teaching import as_if_new, choose, held_out
from components.ranking.views import with_views
from components.sampling import derive
from components.settings.params import Params
from components.settings.views import RELATIONS, Media
from components.settings.voices import Voices
from components.storage import vectors
from components.storage.artifacts import publish_json
from components.storage.layout import Layout
from components.views.build import build
from components.voices.learned import Learned
from components.voices.lists import places
from components.voices.load import VIEW
from components.voices.load import build as voice_of
from components.zero_shot import held_of

ROOT = Path(__file__).resolve().parents[1]
POSTERS = "movielens-small-posters"
MEDIA = {
    POSTERS: {"poster": Media(files="images.zip")},
    "movielens-1m": {"poster": Media(files="images.zip")},
    "spotify-playlists": {"audio": Media(numbers=["audio"])},
    "amazon-sports": {"labels": Media(labels="image_labels")},
}
GRAPHS = ("kg.tsv.gz", "kg_satori.tsv.gz", "knowledge.tsv.gz")
FACTORS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
METRICS = {"recall_at_20": lambda ranks: recall(ranks, 20), "ndcg_at_10": lambda ranks: ndcg(ranks, 10)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder of --data, such as spotify-playlists")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--users", type=int, default=0, help="judge by so many users (0: all)")
    parser.add_argument("--taught", type=int, default=0, help="teach by so many (0: as many as judge)")
    parser.add_argument("--hidden", type=float, default=0.0, help="share of the items that training never sees")
    parser.add_argument("--seeds", type=int, nargs="*", default=[17, 18, 19])
    parser.add_argument("--only", nargs="+", help="variants, by name (default: all)")
    parser.add_argument("--pictures", choices=("colours", "efficientnet"), default="colours")
    parser.add_argument("--work", type=Path, help="a folder for artifacts, so that pictures are encoded once")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, reporting(Console()) as progress:
        result = measure(chosen, chosen.work or Path(folder), progress)
    about = {"benchmark": "views_quality", "dataset": chosen.dataset, "options": sys.argv[1:]}
    print(json.dumps({**about, **result, **machine.facts()}))


def measure(chosen: argparse.Namespace, workspace: Path, progress: Progress) -> dict[str, Any]:
    raw = ROOT / "data" / "demo" if chosen.dataset == "demo-pictures" else chosen.data / chosen.dataset
    params = params_of(chosen, raw)
    if chosen.dataset == "movielens-1m":  # its posters lie in another set
        raw = linked([*raw.iterdir(), chosen.data / POSTERS / "images.zip"], workspace / "raw")
    shop, layout = read(params, raw, workspace, progress)
    if chosen.hidden:
        shop = replace(shop, histories=without(shop.histories, hidden_items(shop.items, chosen.hidden, params.seed)))
    asked = shop.cases(refit=False, on="valid", max_users=chosen.users, seed=params.seed)
    test = shop.cases(refit=False, on="test", max_users=chosen.users, seed=params.seed)
    labels = {medium.labels for medium in params.ingest.media.values()}  # of a picture, and so no text
    columns = [name for name in text_columns(shop.items) if name not in ("text", "title", *labels)]
    voices = reading_all(params.voices, columns)
    views = vectors.load(layout.views, test.item_ids)
    variants = variants_of(views)
    if chosen.only:
        variants = {name: variants[name] for name in [TEXT, *chosen.only]}
    used = dict.fromkeys(each for some in variants.values() for each in some)
    every = {name: views[name] if name in views else made(name, views, params.seed) for name in used}
    learned = replace(shop.learned(asked), seed=params.seed, views=every)
    ranks = {}
    if chosen.seeds:
        # Read once with all views, spoilt ones among them: a variant is these lists without the others.
        lists = read_lists(learned, asked, test, params, voices, progress)
        for name, some in variants.items():
            ranks[name] = ranked(lists, params, chosen.seeds, [each for each in every if each not in some], progress)
    parts = slices(test)
    alone, summed, factors = sums(learned, asked, test, voices, variants)
    return {
        "users": len(test.user_ids),
        "items": len(test.item_ids),
        "text_columns": ["title", *columns],
        "slices": {name: int(rows.sum()) for name, rows in parts.items()},
        **judged(ranks, parts, params.seed),
        "voices": rows_of(values_of(alone), parts),
        "sums": {**judged(summed, parts, params.seed), "factors": factors},
    }


def judged(ranks: Mapping[str, np.ndarray], parts: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Figures, differences and words, of ranks [seeds, users] of each variant."""
    values = values_of(ranks)
    found = {"rows": rows_of(values, parts)}
    return {**found, "beyond_text": beyond(values, parts, seed), "says": says(values, parts, seed)} if values else found


def params_of(chosen: argparse.Namespace, raw: Path) -> Params:
    params = settings(ROOT / "params" / f"{chosen.dataset}.yaml", raw)
    found = [name for name in GRAPHS if (raw / name).is_file()]
    ingest_ = replace(
        params.ingest,
        relations=found or None,
        quoting=params.ingest.quoting | ({"relations": "unquoted"} if found else {}),
        media=MEDIA.get(chosen.dataset, params.ingest.media),
    )
    most = chosen.taught or chosen.users or params.rank.most_users
    rank = replace(params.rank, most_users=most, hidden_items=chosen.hidden)
    return replace(params, ingest=ingest_, rank=rank, views=replace(params.views, pictures=chosen.pictures))


def reading_all(voices: Voices, columns: list[str]) -> Voices:
    """Voices of text that read every text column, as words and as whole values."""
    rich = replace(voices.text, words=["title", *columns])
    then = replace(voices.graph_then_text, text=replace(voices.graph_then_text.text, words=["title", *columns]))
    back = replace(voices.text_then_graph, text=replace(voices.text_then_graph.text, words=["title", *columns]))
    return replace(voices, text=rich, graph_then_text=then, text_then_graph=back).reading(columns)


def read(params: Params, raw: Path, workspace: Path, progress: Progress) -> tuple[Shop, Layout]:
    """Raw files -> clean tables and views, by the project's own stages."""
    layout = Layout(workspace, params.dataset)
    ingest(params.ingest, raw, layout)
    publish_json(layout.verdict, {"passed": True})  # whether the data would pass is not the question here
    build(params.views, params.ingest, raw, layout, seed=params.seed, progress=progress)
    clean(params.clean, params.seed, layout)
    tables = (layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets)
    items, histories, valid, test = (pl.read_parquet(path) for path in tables)
    return Shop(items, histories, valid, test, drop_repeats=params.clean.drop_repeats), layout


def linked(files: Iterable[Path], folder: Path) -> Path:
    """A folder with links to some files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file.resolve())
    return folder


def hidden_items(items: pl.DataFrame, share: float, seed: int) -> pl.Series:
    """Ids of a drawn share of the items."""
    drawn = np.random.default_rng(derive(seed, "views_quality", "hidden")).random(items.height) < share
    return items["item_id"].filter(pl.Series(drawn))


def without(histories: pl.DataFrame, hidden: pl.Series) -> pl.DataFrame:
    """Training histories without the events of some items; who has no others is gone from them."""
    lists = [name for name, kind in histories.schema.items() if isinstance(kind, pl.List)]
    rows = histories.explode(lists).filter(~pl.col("history").is_in(hidden.implode()))
    return rows.group_by("user_id", maintain_order=True).agg(lists).select(histories.columns)


Read = tuple[list[Lists], Lists, Lists]
"""What the ranker learns from, validation, test."""


def read_lists(learned: Learned, asked: Cases, test: Cases, params: Params, voices: Voices, progress: Progress) -> Read:
    """Lists of the inner hold-outs, of validation and of the test, with every view of `learned`."""
    core = params.clean.min_item_interactions if params.clean.core == "all" else 0
    rank = with_views(params.rank, learned.views)
    pairs = [held_out(learned)]
    if rank.hidden_items:
        pairs.append(as_if_new(*pairs[0], rank.hidden_items))
    inner = [
        Lists.read(Reader.build(left, rank, voices, core=core), held.some(rank.most_users, params.seed), progress)
        for left, held in pairs
    ]
    reader = Reader.build(learned, rank, voices, core=core)
    valid = Lists.read(reader, held_of(asked).some(rank.most_users, params.seed), progress)
    return inner, valid, Lists.read(reader, held_of(test), progress)


def ranked(
    lists: tuple[list[Lists], Lists, Lists],
    params: Params,
    seeds: Sequence[int],
    left_out: Sequence[str],
    progress: Progress,
) -> np.ndarray:
    """[seeds, users] masked ranks of the test targets by a ranker that hears no view of `left_out`."""
    silent = [f"{VIEW}:{name}" for name in left_out]
    inner = [each.without(voices=silent) for each in lists[0]]
    valid, test = (each.without(voices=silent) for each in lists[1:])
    found = []
    for seed in seeds:
        choice = choose(inner, valid, params.rank, seed=seed, masked=True, progress=progress)
        found.append(test.ranks(choice.ranker.scores(test.columns), masked=True))
    return np.stack(found)


def slices(test: Cases) -> dict[str, np.ndarray]:
    counts = test.counts[test.targets]
    found = {"all": np.ones(len(counts), bool), "cold": counts == 0, "few": counts <= 5}
    return {name: rows for name, rows in found.items() if rows.any()}


Values = Mapping[str, Mapping[str, np.ndarray]]


def values_of(ranks: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Name -> metric -> [seeds, users]."""
    return {name: {metric: of(each) for metric, of in METRICS.items()} for name, each in ranks.items()}


def rows_of(values: Values, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Name -> slice -> metric."""
    return {
        name: {part: {metric: _mean(each[:, rows]) for metric, each in of.items()} for part, rows in parts.items()}
        for name, of in values.items()
    }


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


def says(values: Values, parts: Mapping[str, np.ndarray], seed: int) -> list[str]:
    """Of each variant with a control, by slice: whether it is better than that, and what follows if it is not."""
    lines = []
    for control in values:
        name = next((control.removesuffix(how) for how in CONTROLS if control.endswith(how)), None)
        if name is None:
            continue
        real = name if name in values else RELATIONS  # of one relation rewired: all of them as they are
        if real not in values:
            continue
        for part, rows in parts.items():
            gain = by_user(values[real]["recall_at_20"])[rows] - by_user(values[control]["recall_at_20"])[rows]
            low, high = (float(each) for each in bootstrap({name: gain}, seed=seed)[name])
            word = "better than" if low > 0 else "WORSE than" if high < 0 else "not to be told from"
            end = "" if low > 0 else ": a gain over text is not real"
            about = f"{gain.mean():+.4f} recall@20, {low:+.4f} to {high:+.4f}"
            lines.append(f"{part}: {real} is {word} {control} ({about}){end}")
    return lines


def sums(
    learned: Learned, asked: Cases, test: Cases, voices: Voices, variants: Mapping[str, Sequence[str]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, float]]:
    """[1, users] masked ranks in the whole catalogue: by the voice of text and of each view alone; and of each variant
    by the sum of text and its views. They have the weights of a shop without a training (foundation/weights.py), times
    the factor with the best recall@20 of all validation targets, which may be 0; and these factors."""
    weights = with_weights({}, learned.views)
    built = {name: voice_of(name, learned, voices) for name in (TEXT, *weights)}

    def ranked_by(cases: Cases, factors: Mapping[str, Sequence[float]], alone: Sequence[str]) -> dict[Any, np.ndarray]:
        """[users] ranks by (variant, factor), and by each of some voices `alone`."""
        found: dict[Any, list[np.ndarray]] = {}
        start = 0
        for blocks in zip(*(each.blocks(cases.prompts, cases.prompt_days) for each in built.values()), strict=True):
            block = blocks[0][0]
            targets = cases.targets[start : start + len(block)]
            start += len(block)
            scores = {name: own for name, (_, own) in zip(built, blocks, strict=True)}
            for name, some in variants.items():
                of_views = sum(weights[f"{VIEW}:{each}"] * scores[f"{VIEW}:{each}"] for each in some)
                for factor in factors[name]:
                    total = scores[TEXT] + np.float32(factor) * of_views
                    found.setdefault((name, factor), []).append(places(total, targets, least=0.0, excluded=block))
            for name in alone:
                own = places(scores[name], targets, least=built[name].LEAST, excluded=block)
                found.setdefault(name, []).append(own)
        return {key: np.concatenate(each) for key, each in found.items()}

    tried = ranked_by(asked, dict.fromkeys(variants, FACTORS), [])
    gains = {key: float(METRICS["recall_at_20"](each).mean()) for key, each in tried.items()}
    best = {name: max(FACTORS, key=lambda factor: (gains[name, factor], -factor)) for name in variants}
    found = ranked_by(test, {name: [factor] for name, factor in best.items()}, list(built))
    alone = {name: found[name][None] for name in built}
    return alone, {name: found[name, factor][None] for name, factor in best.items()}, best


def _mean(values: np.ndarray) -> float:
    """Over users, and seeds before them."""
    return round(float(np.mean(values)), 6)


if __name__ == "__main__":
    main()
