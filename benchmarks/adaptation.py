"""From how many of its users on is a new shop better served by what it taught itself, and by which way to learn?

    python -m benchmarks.adaptation --teach amazon-beauty amazon-toys           # a model in work/foundation-lm
    python -m benchmarks.adaptation --teach "amazon-beauty:Hair Care" amazon-beauty:Face --epochs 12    # in minutes
    python -m benchmarks.adaptation --targets amazon-scientific                 # killed, it goes on where it was
    python -m benchmarks.adaptation --targets amazon-scientific --users 0 10 30 --draws 2 --test-users 300 --ways full
    python -m benchmarks.adaptation --draw-from benchmarks/results/adaptation.json --figure docs/images/adaptation.svg

Prints one JSON line: `curve.NAME.USERS.WAY.ndcg_at_10`, the mean over draws of the users (`draws` has each), on one
fixed set of test users. USERS: how many of the target's users are known, a number, a share such as 10%, or all. WAYs:
text (TF-IDF of the history), graph, graph_text (fixed weights), foundation (the foundation ranker, where there is one,
in the largest tier that the shop's data allow), own_ranker (one over the same features that the known users taught),
few_shot (both in one: `idiom adapt --foundation`; few_shot_HALF, where `--halves` tries some on a source);
of the language model: scratch, and from the start by `full`, `lora`, `prompt`; hybrid: the mode that validation chooses
of the model adapted by `full` and the shop's own ranker; meta: `full`, from the start that `--teach ... --schedule
reptile --start META` taught, where `--meta META` names it. With 0 users nothing learns: the start as it is.
`experts.NAME` (`--experts A B`): models that one source each taught, in one list gated by likeness of texts, with no
step of training here, against the start (one model of all sources, of the size of each) and each expert alone; paired.
WAY_after_1, _3, _5 (`--new-users`): the same of users of whom so many interactions are known, the newest.

All language models have the same IDs, which the start's generator wrote from texts, the same size, rate and number of
epochs (at least `--epochs`, and so many that there are `--steps`), and the best epoch by the known users' validation
items; where that finds nothing, the last. `forgotten.NAME.WAY`: the start and what most users
made of it (draw 0), on validation targets of the source that taught it first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.adaptation_figure import draw
from benchmarks.adaptation_starts import name_of, start_of, teach
from benchmarks.shop import Shop, read, settings
from components import adapt, curve, stages
from components.errors import BadInput, StageError
from components.evaluation.arrays import Cases
from components.foundation.curve import Young, drawn, number_of
from components.foundation.foundation import Foundation
from components.foundation.ids import written
from components.progress import Progress
from components.ranking import experts
from components.ranking.lists import Held
from components.ranking.load import modes
from components.ranking.modes import Choice
from components.ranking.training import gains
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.interface import Recommender
from components.recommender.pair import drops_repeats
from components.settings.params import Index, Params, to_dict
from components.storage.artifacts import publish_json, read_json
from components.storage.job import from_json
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST, digest, sha256
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned

ROOT = Path(__file__).resolve().parents[1]
USERS = ("0", "10", "30", "100", "300", "1000", "10%", "all")
MODEL_WAYS = ("scratch", *adapt.WAYS, "hybrid")
SIZE = "d_model=64,layers=2,heads=4,d_ff=256"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--targets", nargs="+", default=["amazon-scientific"], help="folders of --data, or FOLDER:CATEGORY"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--start", type=Path, default=ROOT / "work" / "foundation-lm", help="workspace of --teach")
    parser.add_argument("--meta", type=Path, help="a workspace of --teach --schedule reptile: the way `meta`")
    parser.add_argument("--schedule", default="alternation", choices=["alternation", "reptile"], help="of --teach")
    parser.add_argument("--experts", type=Path, nargs="+", default=[], help="workspaces of --teach, in one list")
    parser.add_argument("--new-users", action="store_true", help="ask with the newest 1, 3 and 5 items, too")
    parser.add_argument("--foundation", type=Path, default=ROOT / "work" / "foundation", help="a foundation ranker")
    parser.add_argument("--halves", type=int, nargs="*", default=[], help="to be tried as `half` of the foundation")
    parser.add_argument("--users", nargs="+", default=USERS, help="how many users are known: numbers, shares, all")
    parser.add_argument("--draws", type=int, default=5, help="draws of these users")
    parser.add_argument("--ways", nargs="*", default=MODEL_WAYS, help="of the language model; none: voices alone")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=80, help="at least; few users are gone through more often")
    parser.add_argument("--test-users", type=int, default=1000, help="most users who are asked, chosen by a hash")
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "curve", help="what is done already")
    parser.add_argument("--teach", nargs="+", help="teach --start by these folders of --data instead")
    parser.add_argument("--sample-users", type=int, default=0, help="users of each that teaches (0: all)")
    parser.add_argument("--size", default=SIZE, help="of the network that is taught")
    parser.add_argument("--draw-from", type=Path, help="a line of this benchmark, to draw --figure of")
    parser.add_argument("--figure", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.draw_from:
        draw(json.loads(chosen.draw_from.read_text())["curve"], chosen.figure)
        return
    if chosen.teach:
        print(json.dumps({"benchmark": "adaptation", "taught": teach(chosen)} | machine.facts()))
        return
    found: dict[str, Any] = {"benchmark": "adaptation", "curve": {}, "forgotten": {}, "seconds": {}, "about": {}}
    start = start_of(chosen.start) if chosen.ways else None
    chosen.ways = [*chosen.ways, *(["meta"] if chosen.meta else [])]
    foundation = Foundation.load(chosen.foundation) if chosen.foundation.is_dir() else None
    for name in chosen.targets:
        began = time.perf_counter()
        target = Target.read(name, chosen, start)
        found["curve"][name] = target.curve(foundation)
        found["forgotten"][name] = target.forgotten(chosen.start) if start else {}
        found["about"][name] = target.about()
        if chosen.experts and start:
            found.setdefault("experts", {})[name] = target.together(chosen.experts)
        found["seconds"][name] = round(time.perf_counter() - began, 1)
    found |= {"draws": chosen.draws, "epochs": chosen.epochs, "steps": chosen.steps}
    print(json.dumps(found | machine.facts()))
    if chosen.figure:
        draw(found["curve"], chosen.figure)


@dataclass(frozen=True)
class Target:
    """A shop that is adapted to: its tables, who is asked, and what is known already."""

    name: str
    shop: Shop
    asked: Cases
    learned: Learned
    params: Params
    chosen: argparse.Namespace
    start: Path | None
    """The model with this shop's IDs."""
    work: Path
    report: dict[str, Any]
    """Of the IDs."""

    @classmethod
    def read(cls, name: str, chosen: argparse.Namespace, start: Path | None) -> Target:
        folder, _, category = name.partition(":")
        raw = chosen.data / folder
        name = name_of(name)
        params = replace(settings(Path("none"), raw), dataset=name)
        manifest = sha256(start / MANIFEST) if start else ""
        decides = {
            "clean": to_dict(params.clean),
            "start": manifest,
            "epochs": [chosen.epochs, chosen.steps],
            "seed": params.seed,
        }
        if chosen.foundation.is_dir():
            decides["foundation"] = [sha256(chosen.foundation / MANIFEST), *chosen.halves]
        work = chosen.work / name / digest({**decides, "asked": chosen.test_users})[:16]
        shop = read(params, raw, work, params.clean.ties, category)
        asked = shop.cases(refit=False, on="test", max_users=chosen.test_users, seed=params.seed)
        learned = replace(shop.learned(asked), seed=params.seed)
        here: Path | None = None
        report: dict[str, Any] = {}
        if start is not None:
            here, report = _with_ids(start, work, shop)
            if chosen.meta and not (work / _meta(chosen.meta)).is_dir():
                meta, once = work / _meta(chosen.meta), shop.drop_repeats
                adapt.with_ids(start_of(chosen.meta), work / "ids.parquet", meta, drop_repeats=once)
        return cls(name, shop, asked, learned, params, chosen, here, work, report)

    def about(self) -> dict[str, Any]:
        words = {key: self.report[key] for key in ("mean_tokens", "own_word_share") if key in self.report}
        return {"items": len(self.asked.item_ids), "users": len(self.shop.histories), "ids": words,
                "test_users": len(self.asked.targets), "ties": self.params.clean.ties}  # fmt: skip

    def curve(self, foundation: Foundation | None) -> dict[str, dict[str, Any]]:
        """USERS -> WAY -> figures."""
        found: dict[str, dict[str, Any]] = {}
        for asked in self.chosen.users:
            number = number_of(asked, len(self.learned.histories))
            if number > len(self.learned.histories) or str(number) in found:
                continue
            whole = number in (0, len(self.learned.histories))
            draws = [self._draw(number, each, foundation) for each in range(1 if whole else self.chosen.draws)]
            ways = dict.fromkeys(way for each in draws for way in each)  # ten users may have no list that teaches
            found[str(number)] = {way: _mean([each.get(way) for each in draws]) for way in ways}
            print(json.dumps({self.name: {str(number): found[str(number)]}}), file=sys.stderr)
        return found

    def _draw(self, number: int, draw: int, foundation: Foundation | None) -> dict[str, float | None]:
        """WAY -> NDCG@10 of one draw of so many users."""
        rows = self._rows(number, draw)
        some = {"voices": lambda: self._voices(rows, foundation)}
        some |= {way: (lambda way=way: self._model(rows, number, draw, way)) for way in self.chosen.ways}
        found: dict[str, float | None] = {}
        for name, measure in some.items():
            of = _meta(self.chosen.meta) if name == "meta" else name
            kept = self.work / "done" / f"{number}-{draw}-{of}.json"
            if not kept.is_file():
                publish_json(kept, measure())
            found |= read_json(kept)
        return found

    def _rows(self, number: int, draw: int) -> np.ndarray:
        return drawn(len(self.learned.histories), number, draw, self.params.seed)

    def _voices(self, rows: np.ndarray, foundation: Foundation | None) -> dict[str, float]:
        asked = self.shop.cases(refit=False, on="valid", max_users=len(self.shop.histories), seed=self.params.seed)
        valid, held = (Held(each.prompts, each.prompt_days, each.targets) for each in (asked, self.asked))
        core, masked = self.params.clean.min_item_interactions, self.params.clean.drop_repeats
        young = Young(self.learned, valid, np.arange(len(asked.targets)), held, core, masked)
        ranks = young.ranks(rows, foundation, own=foundation is not None, halves=self.chosen.halves)
        return {way: round(float(gains(each).mean()), 6) for way, each in ranks.items()}

    def _model(self, rows: np.ndarray, number: int, draw: int, way: str) -> dict[str, float | None]:
        """NDCG@10 of a language model that these users taught in a way; None where there is nothing to teach it."""
        if not number:
            return self._figures(way, Engine.load(self._from(way)) if way in (*adapt.WAYS, "meta") else None)
        with tempfile.TemporaryDirectory() as folder:
            layout = Layout(Path(folder), self.name)
            self._write(layout, rows)
            kept = self.work / "pairs" / way if number == self._most and not draw and way in adapt.WAYS else None
            self._teach(layout, way)
            if kept and not kept.is_dir():
                kept.parent.mkdir(parents=True, exist_ok=True)
                layout.pair.rename(kept)
            if way != "hybrid":
                return self._figures(way, Engine.load(kept or layout.pair))
            layout.id_table.parent.mkdir(parents=True)
            layout.id_table.write_bytes((layout.pair / "id_table.parquet").read_bytes())
            try:
                stages.rank(Path(folder), self.params)
            except StageError as error:
                print(f"no ranker with {number} users: {error}", file=sys.stderr)
                return self._figures(way, None)
            choice = from_json(Choice, read_json(layout.mode))
            print(f"{number} users, draw {draw}: {choice}", file=sys.stderr)
            catalogue = Catalogue.load(layout.pair, drop_repeats=self.shop.drop_repeats)
            return self._figures(way, modes(layout.pair, layout.hybrid, choice, catalogue=catalogue))

    def _from(self, way: str) -> Path:
        """What a way starts from."""
        assert self.start is not None
        return self.work / _meta(self.chosen.meta) if way == "meta" else self.start

    @property
    def _most(self) -> int:
        whole = len(self.learned.histories)
        return max(number for number in (number_of(each, whole) for each in self.chosen.users) if number <= whole)

    def _write(self, layout: Layout, rows: np.ndarray) -> None:
        users = self.shop.histories.sort("user_id")[rows]["user_id"]
        curve.tables_of(layout, self.shop.items, self.shop.histories, self.shop.valid, users)

    def _teach(self, layout: Layout, way: str) -> None:
        (known,) = curve.model_ways(["full" if way in ("meta", "hybrid") else way])
        how: dict[str, Any] = {"epochs": self.chosen.epochs, "steps": self.chosen.steps, "seed": self.params.seed}
        how |= {"ids": self.work / "ids.tsv", "drop_repeats": self.shop.drop_repeats}
        curve.taught(layout, known, self._from(way), **how)

    def _figures(self, way: str, recommender: Recommender | None) -> dict[str, float | None]:
        """Of the test users and, with `--new-users`, of the same with fewer items."""
        asked = {way: self.asked}
        if self.chosen.new_users and way not in ("scratch", "hybrid"):
            asked |= {f"{way}_after_{count}": newest(self.asked, count) for count in (1, 3, 5)}
        if recommender is None:
            return dict.fromkeys(asked)
        return {name: round(float(gains(adapt.ranks(recommender, each)).mean()), 6) for name, each in asked.items()}

    def together(self, workspaces: Sequence[Path]) -> dict[str, Any]:
        """Experts in one list: their gates, and how they stand beside the start and beside each of them alone."""
        assert self.start is not None
        pairs, taught, tables = {}, {}, {}
        texts = self.shop.items["text"].to_list()
        for workspace in workspaces:
            source = Layout(workspace, read_json(workspace / "params.json")["dataset"])
            work = self.work / "experts" / source.dataset
            pairs[source.dataset], _ = _with_ids(start_of(workspace), work, self.shop)
            taught[source.dataset] = pl.read_parquet(source.items_clean)["text"].to_list()
            tables[source.dataset] = IdTable.load(work / "ids.parquet")
        gates = experts.gates_by_text(texts, taught)
        catalogue = Catalogue(next(iter(tables.values())), drop_repeats=self.shop.drop_repeats)
        together = self.work / "experts" / "together"
        experts.save(together, pairs, catalogue, gates)
        ours = experts.Experts.load(together)
        over = {
            name: adapt.compared(ours, pair, self.asked, Progress())
            for name, pair in (pairs | {"joint": self.start}).items()
        }
        return {"gates": gates, "over": over}

    def forgotten(self, workspace: Path) -> dict[str, Any]:
        """WAY -> the start and the adapted model on the validation targets of the first source."""
        source = Layout(workspace, read_json(workspace / "params.json")["dataset"])
        found = {}
        for folder in sorted((self.work / "pairs").iterdir()) if (self.work / "pairs").is_dir() else []:
            kept = self.work / "done" / f"forgotten-{folder.name}.json"
            if not kept.is_file():
                here = self.work / "on-source" / folder.name
                adapt.with_ids(folder, source.id_table, here, drop_repeats=drops_repeats(source.pair))
                users = self.chosen.test_users
                asked = adapt.asked_by(source, on="valid", most_users=users, seed=self.params.seed)
                publish_json(kept, adapt.beside(source.pair, here, asked, Progress()))
            found[folder.name] = read_json(kept)
        return found


def newest(asked: Cases, count: int) -> Cases:
    """The same users with the newest items of their prompts alone."""

    def cut(rows: Ragged) -> Ragged:
        lengths = np.minimum(rows.lengths, count)
        values = rows.values[rows.offsets[0] : rows.offsets[-1]]
        kept = np.arange(len(values)) >= np.repeat(rows.offsets[1:] - lengths, rows.lengths)
        return Ragged(np.concatenate([[0], np.cumsum(lengths)]), values[kept])

    times = asked.times and replace(asked.times, prompts=cut(asked.times.prompts))
    return replace(asked, prompts=cut(asked.prompts), times=times)


def _with_ids(start: Path, work: Path, shop: Shop) -> tuple[Path, dict[str, Any]]:
    """The start with IDs for a shop, by its generator, and the report of these."""
    here = work / "start"
    if not here.is_dir():
        facts = read_json(start / "pair.json")
        table, report, _ = written(shop.items["item_id"].to_list(), shop.items["text"].to_list(),
                                   from_json(Index, facts["index"]), bundle=start)  # fmt: skip
        table.save(work / "ids.parquet")
        curve.words_of(work / "ids.parquet", work / "ids.tsv")
        publish_json(work / "ids.json", report)
        adapt.with_ids(start, work / "ids.parquet", here, drop_repeats=shop.drop_repeats)
    return here, read_json(work / "ids.json")


def _meta(workspace: Path) -> str:
    """The name of the way `meta` from one start, by its content."""
    return f"meta-{sha256(start_of(workspace) / MANIFEST)[:8]}"


def _mean(draws: Sequence[float | None]) -> dict[str, Any]:
    """Of those that have a figure."""
    there = [each for each in draws if each is not None]
    return {"ndcg_at_10": round(sum(there) / len(there), 6) if there else None, "draws": list(draws)}


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"error: {error}")
