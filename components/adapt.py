"""Adapts a trained model to another shop: connects the rooms for `idiom adapt`, as stages.py does for the graph.

    more = adapting(facts, "work/bundles/SHA", "lora", epochs=4)      # settings for the new shop's params.yaml
    prepare(workspace, params)                           # clean tables
    teach(workspace, params)                             # the stages up to `rank`, which chooses the mode on validation
    report = judge(workspace, params, sources=[Path("../shops/beauty")])          # after all that, the test once

The weights begin as those of a bundle that other shops taught; items, users, IDs, voices and ranker are the new shop's.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components import stages
from components.errors import BadInput
from components.evaluation.model_card import adaptation
from components.progress import Progress
from components.settings.params import Params, to_dict
from components.settings.train import Train
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.layout import Layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.evaluation.arrays import Cases
    from components.recommender.interface import Recommender

Way = Literal["full", "lora", "prompt"]
WAYS: dict[Way, dict[str, Any]] = {
    "full": {"continual": {"rate": 0.5}},
    "lora": {"lora_rank": 8, "continual": {"rate": 1.0}},
    "prompt": {"soft_prompt": 16, "continual": {"rate": 10.0}},
}
"""What learns: all weights; matrices of low rank beside them; vectors in front of the prompt. The fewer, the faster."""
_OWN: dict[str, Any] = {
    **{"ranks": 1, "nodes": 1, "node_rank": None, "rendezvous": None, "device": "auto", "refit": False},
    **{"imported_ids": None, "views": [], "ids": "generated", "lora_rank": 0, "soft_prompt": 0},
    "schedule": "alternation",
}
"""Settings of a training that are of the place, the catalogue or the way, and not taken over."""
_TABLES = ("ingest", "validate", "views", "clean")
_TAUGHT = ("train", "index", "rank")
START = "start"
"""Folder under the workspace's `work/`: the model as it was, with the new shop's IDs."""


def adapting(facts: Mapping[str, Any], start: str, way: Way, *, epochs: int) -> dict[str, Any]:
    """The sections `train` and `index` of params.yaml, as far as they are not the defaults, by the pair.json of what is
    adapted. `start`: its folder in the workspace."""
    known = {each.name for each in fields(Train)}
    theirs = {name: value for name, value in facts.get("train", {}).items() if name in known and name != "distil"}
    learns = WAYS[way]
    continual = {"epochs": epochs, "kl": 0.0, **learns["continual"]}
    own = {"start": start, "start_elsewhere": True, **_OWN, **learns, "continual": continual}
    return {"train": _unusual(theirs | own, to_dict(Train())), "index": dict(facts.get("index", {}))}


def _unusual(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as usual."""
    found = {}
    for name, value in settings.items():
        each = _unusual(value, usual[name]) if isinstance(value, Mapping) else value
        if each != ({} if isinstance(value, Mapping) else usual[name]):
            found[name] = each
    return found


def kept(folder: Path, workspace: Path) -> str:
    """A copy of a pair or bundle in a workspace, named by its content, as `idiom retrain --from` keeps it; its path
    there. Raises `BadInput` for what is neither."""
    from components.registry.bundle import bundle_sha256
    from components.storage.manifest import verify_manifest
    from components.training.key import start_manifest

    start_manifest(folder)
    verify_manifest(folder)
    name = f"work/bundles/{bundle_sha256(folder)}"
    if not (workspace / name).is_dir():
        with publishing(workspace / name) as temporary:
            shutil.copytree(folder, temporary)
    return name


def kept_foundation(folder: Path, workspace: Path) -> str:
    """A copy of a foundation ranker in a workspace, its path there. Raises `BadInput` for what is none."""
    from components.foundation.foundation import Foundation

    Foundation.load(folder)
    name = "work/foundation"
    with publishing(workspace / name) as temporary:
        shutil.copytree(folder, temporary)
    return name


def averaged(folders: Sequence[Path], workspace: Path) -> Path:
    """A pair or bundle with the mean weights of several that went on from one start. Raises `BadInput` as `average`."""
    from components.recommender.average import average

    out = workspace / "work" / "average"
    average(folders, out)
    return out


def experts(workspace: Path, params: Params, bundles: Sequence[Path], progress: Progress) -> dict[str, Any]:
    """Bundles of other shops as one recommender for this one, nothing trained; saved in `workspace`/recommender and
    judged on the test set beside each expert alone. Raises `BadInput` for a bundle without the texts that taught it.
    """
    from components.foundation.ids import written
    from components.ranking.experts import Experts, gates_by_text, save
    from components.recommender.catalogue import ITEMS, Catalogue, read_aliases
    from components.recommender.pair import FACTS
    from components.storage import parquet
    from components.storage.manifest import MANIFEST

    named: dict[str, Path] = {}
    for bundle in bundles:
        if not (bundle / MANIFEST).is_file() or not (bundle / ITEMS).is_file():
            mend = "give WORKSPACE/artifacts/DATASET/register/bundle; a pair does not say what taught it"
            raise BadInput("this is no bundle with the items that taught it", where=str(bundle), mend=mend)
        name = read_json(bundle / MANIFEST).get("dataset") or bundle.resolve().name
        if further := sorted(read_json(bundle / FACTS).get("catalogues", {}).keys() - {name}):
            progress.note(f"{name} was taught {', '.join(further)} too, and is gated by the texts of {name} alone: a "
                          "bundle holds no others")  # fmt: skip
        if name in named:
            raise BadInput(f"two experts are called {name}", where=str(bundle), mend="give bundles of different shops")
        named[name] = bundle
    prepare(workspace, params)
    layout, work = Layout(workspace, params.dataset), workspace / "work" / "experts"
    items = parquet.read(layout.items_clean, ["item_id", "title", "text"]).to_pydict()
    texts = [text or "" for text in items["text"]]
    pairs, taught, tables = {}, {}, {}
    for name, bundle in named.items():
        taught[name] = [text or "" for text in parquet.read(bundle / ITEMS, ["text"])["text"].to_pylist()]
        tables[name], _, _ = written(items["item_id"], texts, params.index, bundle=bundle, progress=progress)
        pairs[name] = work / name
        tables[name].save(work / f"{name}.parquet")
        with_ids(bundle, work / f"{name}.parquet", pairs[name], drop_repeats=params.clean.drop_repeats)
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    aliases = read_aliases(layout.aliases)
    catalogue = Catalogue(next(iter(tables.values())), titles, aliases, params.clean.drop_repeats)
    gates = gates_by_text(texts, taught)
    save(workspace / "recommender", pairs, catalogue, gates)
    asked, together = asked_by(layout, on="test", most_users=2000, seed=params.seed), workspace / "recommender"
    found = {name: compared(Experts.load(together), pair, asked, progress) for name, pair in pairs.items()}
    report = {"gates": gates, "over": found}
    publish_json(workspace / "experts.json", report)
    return report


def way_of(name: str) -> Way:
    """Raises `BadInput` for what is no way."""
    for way in WAYS:
        if name == way:
            return way
    raise BadInput(f"{name!r} is no way to adapt", where="--way", mend=f"give one of {', '.join(WAYS)}")


def epochs_of(train: Mapping[str, Any], layout: Layout, epochs: int, steps: int) -> int:
    """At least `epochs`, and so many that the users of the clean tables make `steps` of them. train: settings of the
    start, by its pair.json."""
    from components.storage import parquet

    users = parquet.read(layout.histories, ["user_id"]).num_rows
    batch = train.get("recommender", {}).get("batch_size", Train().recommender.batch_size)
    return max(epochs, -(-steps * batch // users))


def prepare(workspace: Path, params: Params) -> None:
    """Raw files -> clean tables. Raises `StageError` for a shop that the checks refuse."""
    for name in _TABLES:
        stages.run(name, workspace, params)


def teach(workspace: Path, params: Params) -> None:
    """Clean tables -> the adapted pair, its IDs, voices, ranker, and who answers. Raises `StageError`."""
    for name in _TAUGHT:
        stages.run(name, workspace, params)


def judge(
    workspace: Path, params: Params, *, sources: Sequence[Path] = (), most_users: int = 2000, progress: Progress
) -> dict[str, Any]:
    """The report: the stage `evaluate`, the language model beside what it was before, what is forgotten of sources.

    sources: WORKSPACE/DATASET of catalogues that taught it, judged by their validation targets with their own IDs.
    Raises `BadInput` as `refuse_sources`.
    """
    refuse_sources(sources)
    stages.evaluate(workspace, params)
    layout = Layout(workspace, params.dataset)
    metrics, mode = read_json(layout.metrics), read_json(layout.mode)
    before = workspace / "work" / START
    with_ids(workspace / str(params.train.start), layout.id_table, before, drop_repeats=params.clean.drop_repeats)
    asked = asked_by(layout, on="test", most_users=most_users, seed=params.seed)
    found = {
        "taught_by": (read_json(layout.pair / "pair.json").get("start") or {}).get("taught_by", []),
        "mode": mode["mode"],
        "headline": read_json(layout.headline),
        "baselines": _baselines(metrics),
        "language_model": beside(before, layout.pair, asked, progress),
        "forgotten": {source.name: _forgotten(layout.pair, source, params, most_users, progress) for source in sources},
    }
    publish_json(layout.adapted, found)
    return found


def register(workspace: Path, params: Params) -> None:
    """The bundle -> a version in MLflow, which names what it was adapted from."""
    stages.register(workspace, params)


def bundle(workspace: Path, params: Params) -> Path:
    """The bundle, assembled from the artifacts that lie here."""
    from components.registry.bundle import assemble

    return assemble(Layout(workspace, params.dataset), params)


def in_words(report: Mapping[str, Any]) -> list[str]:
    """Lines for a terminal."""
    lines = [f"answers in mode {report['mode']}: NDCG@10 {report['headline']['ndcg_at_10']:.4f} on the test set"]
    lines += [f"  {name}: {figure:.4f}" for name, figure in report["baselines"].items()]
    return lines + [f"{name}: {said}" for name, said in adaptation(report)]


def _baselines(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Contender -> NDCG at the headline cut-off, of all but the model."""
    protocol = metrics["protocol"]
    name = f"ndcg_at_{protocol['headline_k']}"
    return {who: each[name] for who, each in metrics[protocol["headline"]].items() if who != "model"}


def _forgotten(pair: Path, source: Path, params: Params, most_users: int, progress: Progress) -> dict[str, Any]:
    """The start and the adapted model on a source's validation targets."""
    layout, start = _tables_of(source), pair.parents[3] / str(params.train.start)
    work = pair.parents[3] / "work"
    once = _takes_once(start, source.name)
    for folder, of in ((work / f"{START}-on-{source.name}", start), (work / f"adapted-on-{source.name}", pair)):
        with_ids(of, layout.id_table, folder, drop_repeats=once)
    asked = asked_by(layout, on="valid", most_users=most_users, seed=params.seed)
    return beside(work / f"{START}-on-{source.name}", work / f"adapted-on-{source.name}", asked, progress)


def refuse_sources(sources: Sequence[Path]) -> None:
    """Raises `BadInput` for a source without prepared tables, and for two of one name: the figures of the second would
    take the place of the first one's."""
    named: dict[str, Path] = {}
    for source in sources:
        _tables_of(source)
        if source.name in named:
            where = f"--source {named[source.name]} and {source}"
            raise BadInput(f"two sources are called {source.name}", where=where, mend="give each dataset once")
        named[source.name] = source


def _tables_of(source: Path) -> Layout:
    layout = Layout(source.parent, source.name)
    for path in (layout.items_clean, layout.histories, layout.valid_targets, layout.id_table):
        if not path.is_file():
            mend = "give WORKSPACE/DATASET of a workspace in which the stages up to `index` ran"
            raise BadInput("a source has no prepared tables", where=f"--source {source}: {path}", mend=mend)
    return layout


def _takes_once(pair: Path, catalogue: str) -> bool:
    """`clean.drop_repeats` of a catalogue that taught a pair, of the first one where the pair does not name it."""
    from components.recommender.pair import FACTS, drops_repeats

    facts = read_json(pair / FACTS)
    return bool(facts.get("catalogues", {}).get(catalogue, {}).get("drop_repeats", drops_repeats(pair, facts)))


def with_ids(pair: Path, id_table: Path, out: Path, *, drop_repeats: bool) -> None:
    """The weights of a pair or bundle as a pair of another catalogue, whose ID table is given; it was taught nothing of
    it. drop_repeats: of that catalogue, which decides how its histories are read and what is left out of answers."""
    from components.ranking.modes import CHOICE, HYBRID
    from components.recommender.catalogue import ALIASES, ID_TABLE, ITEMS
    from components.recommender.pair import CATALOGUES, FACTS
    from components.recommender.prompts.neighbours import FILE as NEIGHBOURS
    from components.storage.manifest import MANIFEST, write_manifest
    from components.training.packed.taught import TAUGHT

    left = shutil.ignore_patterns(MANIFEST, CATALOGUES, ITEMS, ALIASES, TAUGHT, HYBRID, CHOICE, NEIGHBOURS)
    with publishing(out) as folder:
        shutil.copytree(pair, folder, ignore=left)
        shutil.copyfile(id_table, folder / ID_TABLE)
        publish_json(folder / FACTS, read_json(pair / FACTS) | {"drop_repeats": drop_repeats})
        write_manifest(folder)


def asked_by(layout: Layout, *, on: str, most_users: int, seed: int) -> Cases:
    import polars as pl

    from components.evaluation.arrays import cases
    from components.storage import parquet

    items, histories, valid = (
        pl.DataFrame(parquet.read(path)) for path in (layout.items_clean, layout.histories, layout.valid_targets)
    )
    targets = valid if on == "valid" else pl.DataFrame(parquet.read(layout.test_targets))
    return cases(items, histories, valid, targets, max_users=most_users, seed=seed)


def beside(start: Path, adapted: Path, asked: Cases, progress: Progress) -> dict[str, Any]:
    """NDCG@10 of two models of one catalogue, the difference paired over users."""
    from components.recommender.engine import Engine

    found = compared(Engine.load(adapted), start, asked, progress)
    return {"start": found.pop("other"), "adapted": found.pop("ours"), **found}


def compared(ours: Recommender, other: Path, asked: Cases, progress: Progress) -> dict[str, Any]:
    """NDCG@10 of a recommender and of the model in a folder, and the difference, ours minus the other, paired over
    users, with its 95 % interval."""
    from components.ranking.training import gains, paired
    from components.recommender.engine import Engine

    both = [gains(ranks(each, asked, progress)) for each in (ours, Engine.load(other))]
    mean, low, high = paired(both[0] - both[1])
    figures = {"ours": float(both[0].mean()), "other": float(both[1].mean())}
    differences = {"difference": mean, "difference_low": low, "difference_high": high}
    return {"users": len(asked.targets), **{name: round(each, 6) for name, each in (figures | differences).items()}}


def ranks(recommender: Recommender, asked: Cases, progress: Progress | None = None) -> NDArray[np.int64]:
    """[users] rank of each target among the ten best, 0 where it is not."""
    import numpy as np

    from components.settings.decoding import Decoding

    answers = recommender.recommend(asked.prompt_ids(), 10, Decoding(), progress, asked.prompt_times())
    found = np.zeros(len(asked.targets), np.int64)
    for user, answer in enumerate(answers):
        right = {asked.item_ids[item] for item in asked.right(user)}
        found[user] = next((place for place, hit in enumerate(answer, 1) if hit.item_id in right), 0)
    return found
