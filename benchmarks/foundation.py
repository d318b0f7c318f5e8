"""What does one model recommend in a shop that it has never seen, in three tiers of what is known there?

    idiom foundation ../shared/data/amazon-{beauty,toys,sports} --out work/foundation
    python -m benchmarks.foundation --teach     # 3,500 users of each; components/foundation/weights.json too
    python -m benchmarks.foundation                                            # all targets, with work/foundation
    python -m benchmarks.foundation --targets amazon-scientific --own          # and a ranker taught there
    python -m benchmarks.foundation --foundation work/f17 work/f18 work/f19    # of three seeds: a user's mean over them
    python -m benchmarks.foundation --bundle PAIR --language-source amazon-toys     # the weight of its language model
    python -m benchmarks.foundation --bundle PAIR --targets amazon-scientific       # a contender more
    python -m benchmarks.foundation --curve ...                                # fewer users: benchmarks/adaptation.py

Prints one JSON line: `catalogues.NAME.TIER` with TIER text_only, statistics, stream and keys ndcg_at_10, rival (name
and figure of the best of the tier's rivals), difference, difference_low, difference_high (ours minus the rival, paired
over users, 95 %); `all` has every contender, `over` the difference from each. Ours is the foundation ranker where
`--foundation` is there, else the sum with fixed weights; `how_to_train` says the command then.

Leave-one-out, the whole catalogue ranked, the user's items left out, voices built without the last two items of every
user; ties as `idiom init` sets them: drawn where they follow the item ids, the file's where nothing ties or the file
has an order of its own. No target catalogue chose anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import adaptation, machine
from benchmarks.shop import Shop, read, settings
from components.console import Console
from components.errors import BadInput
from components.evaluation.arrays import Cases
from components.foundation.choosing import TIER, as_chosen, choose
from components.foundation.columns import for_shop
from components.foundation.foundation import Foundation
from components.foundation.ids import written
from components.foundation.judging import Judged
from components.foundation.language import Language, WithLanguage, ndcg_by_weight
from components.foundation.school import taught_by
from components.foundation.tiers import TIERS
from components.foundation.trial import Own, trial
from components.foundation.weights import PRESET, preset
from components.progress import reporting
from components.ranking.fusion import Fusion
from components.ranking.training import gains, paired
from components.settings.foundation import Foundation as Settings
from components.settings.params import Params
from components.settings.ranking import Fusion as Weights
from components.settings.voices import Voices
from components.storage.artifacts import publish_json, read_json
from components.voices.learned import Learned
from components.zero_shot import held_of

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("amazon-scientific", "amazon14-electronics-sample", "movielens-1m", "entree-restaurants")
SOURCES = ("amazon-toys", "amazon-beauty", "amazon-sports")
SAMPLED = {"movielens-1m": 1500}
"""Catalogues of which so many users are all that is known: a history of 165 films makes thousands of pairs."""
LANGUAGE_GRID = (0.0, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)


def main() -> None:
    if "--curve" in sys.argv[1:]:
        adaptation.main([each for each in sys.argv[1:] if each != "--curve"])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=TARGETS, help="folders of --data")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--foundation", type=Path, nargs="+", default=[ROOT / "work" / "foundation"], help="of one seed or of several"
    )
    parser.add_argument("--users", type=int, default=2000, help="most users who are asked, chosen by a hash")
    parser.add_argument("--own", action="store_true", help="a ranker of the same features that the target taught, too")
    parser.add_argument("--tiers", nargs="+", choices=TIERS, default=TIERS)
    parser.add_argument("--bundle", type=Path, help="its language model beside the fixed weights: a contender more")
    parser.add_argument("--instruct", type=Path, help="the same of an instruct model that nobody taught, as SmolLM2")
    parser.add_argument("--language-source", help="folder of --data by whose validation its weight is chosen instead")
    parser.add_argument("--curve", action="store_true", help="the adaptation curve instead, with its own options")
    parser.add_argument("--teach", action="store_true", help="teach --foundation and choose the fixed weights instead")
    parser.add_argument("--sources", nargs="+", default=SOURCES, help="of --teach: folders of --data, FOLDER:CATEGORY")
    parser.add_argument("--source-users", type=int, default=3500, help="users of each source whose lists teach")
    parser.add_argument(
        "--weight-users", type=int, default=200, help="of each source, who choose the weights (0: none)"
    )
    parser.add_argument("--seed", type=int, default=17, help="of --teach")
    parser.add_argument("--encoder", help="of --teach: reads the texts, as `wordllama`")
    parser.add_argument(
        "--thinned", type=int, nargs="*", default=Settings().thinned, help="each source once more, young"
    )
    chosen = parser.parse_args()
    if chosen.teach:
        teach(chosen)
        return
    if chosen.language_source:
        choose_language(chosen)
        return
    found: dict[str, Any] = {"benchmark": "foundation", "catalogues": {}, "seconds": {}}
    foundations: list[Foundation | None] = [Foundation.load(each) for each in chosen.foundation if each.is_dir()]
    if foundations:
        found["taught_by"] = [each.facts for each in foundations if each]
    else:
        foundations = [None]
        found["how_to_train"] = f"idiom foundation {' '.join(relpath(chosen.data / name, ROOT) for name in SOURCES)}"
    with reporting(Console()) as progress, tempfile.TemporaryDirectory() as folder:
        for name in chosen.targets:
            started = time.perf_counter()
            params = settings(Path(folder) / "none", chosen.data / name)
            params = replace(params, clean=replace(params.clean, sample_users=SAMPLED.get(name, 0)))
            shop = read(params, chosen.data / name, Path(folder) / name, params.clean.ties)
            asked = shop.cases(refit=False, on="test", max_users=chosen.users, seed=params.seed)
            learned, held = replace(shop.learned(asked), seed=params.seed), held_of(asked)
            ask: dict[str, Any] = {"core": params.clean.min_item_interactions, "masked": params.clean.drop_repeats}
            asks = ask | {"tiers": chosen.tiers, "progress": progress}
            own = Own(held_of(_valid(shop, chosen.users, params.seed))) if chosen.own else None
            language = _language(chosen, shop, params)
            trials = [trial(learned, held, each, preset(), own=own, language=language, **asks) for each in foundations]
            if TIER in chosen.tiers:
                for each, found_by in zip(trials, foundations, strict=True):
                    answers = choose(learned, found_by, preset(), **ask, progress=progress)
                    each[TIER] = as_chosen(each[TIER], answers)
            tiers = {tier: over_seeds([each[tier] for each in trials]) for tier in chosen.tiers}
            about = {"items": len(asked.item_ids), "ties": params.clean.ties, "sampled": params.clean.sample_users}
            found["catalogues"][name] = about | {tier: _facts(each) for tier, each in tiers.items()}
            found["seconds"][name] = round(time.perf_counter() - started, 1)
            print(json.dumps({name: found["catalogues"][name]}), file=sys.stderr)
    print(json.dumps(found | machine.facts()))


def over_seeds(found: Sequence[Judged]) -> Judged:
    """The same users asked of rankers of several seeds: a user's NDCG@10 is the mean over them. Contenders without a
    seed have the same ranks in each."""
    first = found[0]
    gain = {name: np.mean([gains(each.ranks[name]) for each in found], axis=0) for name in first.ranks}
    figures = {name: float(each.mean()) for name, each in gain.items()}
    differences = {name: paired(gain[first.ours] - each) for name, each in gain.items() if name != first.ours}
    return replace(first, figures=figures, differences=differences)


def teach(chosen: argparse.Namespace) -> None:
    """Teach on the sources, with ties drawn; save the ranker and the weights, and say what was learned from."""
    ask = Settings(most_users=chosen.source_users, standard_users=400, thinned=chosen.thinned, encoder=chosen.encoder)
    with reporting(Console()) as progress, tempfile.TemporaryDirectory() as folder:
        sources = (_source(chosen.data, name, Path(folder)) for name in chosen.sources)
        foundation, weights = taught_by(
            sources, ask, seed=chosen.seed, weight_users=chosen.weight_users, progress=progress
        )
    foundation.save(chosen.foundation[0])
    command = f"python -m benchmarks.foundation --teach --weight-users {chosen.weight_users}"
    if weights:
        found = {"made_by": command, "sources": list(chosen.sources), "weights": weights}
        publish_json(PRESET, read_json(PRESET) | found)
    print(json.dumps({"benchmark": "foundation", "taught": foundation.facts, "weights": weights} | machine.facts()))


def choose_language(chosen: argparse.Namespace) -> None:
    """The weight of a language model's gain, by a source that did not teach it, in the tier `text_only`."""
    with tempfile.TemporaryDirectory() as folder:
        raw = chosen.data / chosen.language_source
        params = settings(Path(folder) / "none", raw)
        shop = read(params, raw, Path(folder) / raw.name, params.clean.ties)
        asked = _valid(shop, chosen.users, params.seed)
        learned = replace(shop.learned(asked), seed=params.seed)
        language = _language(chosen, shop, params)
        if language is None:
            raise BadInput("no language model is named", where="--language-source", mend="give --bundle or --instruct")
        weights = Weights(weights=preset()["text_only"], voices=for_shop(Voices(), learned.texts))
        both = WithLanguage(Fusion.build(learned, weights), language, 0.0)
        values = ndcg_by_weight(both, held_of(asked), LANGUAGE_GRID)
    best = max(values, key=lambda weight: values[weight])
    about = {"weight": best, "source": raw.name, "users": len(asked.targets), "ndcg_at_10": values}
    publish_json(PRESET, read_json(PRESET) | {language.kind: about})
    print(json.dumps({"benchmark": "foundation", language.kind: about} | machine.facts()))


def _language(chosen: argparse.Namespace, shop: Shop, params: Params) -> Language | None:
    """Over the IDs of the bundle's generator, or over those that a rule makes; None where neither is named."""
    items, texts = shop.items["item_id"].to_list(), shop.items["text"].to_list()
    if chosen.bundle is None and chosen.instruct is None:
        return None
    table = written(items, texts, params.index, bundle=chosen.bundle)[0]
    if chosen.bundle:
        return Language.load(chosen.bundle, table, drop_repeats=shop.drop_repeats)
    return Language.instructed(chosen.instruct, items, table.words, drop_repeats=shop.drop_repeats)


def _source(data: Path, name: str, folder: Path) -> tuple[str, Learned, int]:
    raw, category = data / name.partition(":")[0], name.partition(":")[2]
    params = settings(folder / "none", raw)
    shop = read(params, raw, folder / name, params.clean.ties, category)
    asked = shop.cases(refit=False, on="valid", max_users=1, seed=params.seed)
    return name, replace(shop.learned(asked), seed=params.seed), params.clean.min_item_interactions


def _valid(shop: Shop, users: int, seed: int) -> Cases:
    return shop.cases(refit=False, on="valid", max_users=users, seed=seed)


def _facts(each: Judged) -> dict[str, Any]:
    over = {name: [round(value, 6) for value in one] for name, one in each.differences.items()}
    return each.facts() | {"over": over}


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"error: {error}")
