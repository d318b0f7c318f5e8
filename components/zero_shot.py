"""Recommendations for a shop that no training has seen, and a foundation ranker taught by others: connects the rooms
for `idiom zero-shot` and `idiom foundation`, as stages.py does for the graph.

    opened = open_shop(workspace, params)                      # items, histories, IDs
    recommender = opened.recommender("stream", foundation)     # a hybrid; without a foundation a sum with fixed weights
    table = judge(workspace, params, foundation, most_users=5000)

With `look` after `read`, what the items look or sound like and are related to counts as well.

Workspaces hold `params.yaml` as `idiom init` writes it, and get the artifacts of `ingest`, `validate` and `clean`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import BadInput
from components.progress import Progress
from components.settings.params import Params
from components.storage.layout import Layout

if TYPE_CHECKING:
    from components.evaluation.arrays import Cases
    from components.foundation.choosing import Chosen
    from components.foundation.foundation import Foundation
    from components.foundation.judging import Judged
    from components.foundation.tiers import Tier
    from components.ranking.lists import Held
    from components.recommender.catalogue import Catalogue
    from components.settings.foundation import Foundation as Settings
    from components.storage.vectors import Vectors
    from components.textid.table.id_table import IdTable
    from components.voices.learned import Learned
    from components.voices.voice import Scorer

_DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True)
class Opened:
    """A shop as it opens: everything that is known of it, nothing held out."""

    learned: Learned
    core: int
    ids: Mapping[str, Any]
    """Who wrote the IDs, and their qualities."""
    trie_nodes: int
    left_out: int
    """Interactions that name no item of the catalogue."""

    @property
    def tier(self) -> Tier:
        """The largest that the shop has anything for."""
        return "stream" if len(self.learned.histories.values) else "text_only"

    def choice(self, foundation: Foundation | None, progress: Progress | None = None) -> Chosen:
        """Who answers in the tier `stream`, by the last events of the histories."""
        from components.foundation.choosing import choose
        from components.foundation.weights import preset

        masked = self.learned.catalogue.drop_repeats
        return choose(self.learned, foundation, preset(), core=self.core, masked=masked, progress=progress)

    def recommender(
        self,
        tier: Tier,
        foundation: Foundation | None,
        progress: Progress | None = None,
        *,
        chosen: Chosen | None = None,
    ) -> Scorer:
        """By the foundation ranker or, without one, by the fixed weights of the tier; or by whom `choice` named."""
        from components.foundation.catalogue import Readers
        from components.foundation.encoder import with_encoder
        from components.foundation.trial import FIXED
        from components.foundation.weights import preset, with_views
        from components.ranking.fusion import Fusion
        from components.ranking.hybrid import Hybrid
        from components.settings.ranking import Fusion as Weights

        catalogue = self.learned.catalogue
        other = chosen.name if chosen is not None and chosen.name != chosen.ours else None
        if foundation is None or other is not None:
            from components.foundation.columns import for_shop
            from components.settings.voices import Voices

            voices = for_shop(Voices(), self.learned.texts)
            sums = other == FIXED or (foundation is None and other is None)
            weights = with_views(preset()[tier], self.learned.views) if sums else {str(other): 1.0}
            return Fusion.build(self.learned, Weights(weights=weights, voices=voices))
        read = with_encoder(self.learned, foundation.chosen, progress)
        readers = Readers.build(read, foundation.chosen, core=self.core, tiers=(tier,))
        reader = readers.readers[tier]
        ranker = foundation.ranker(tier, reader, readers.standards[tier])
        hybrid = Hybrid.of(ranker, reader, catalogue, readers.voices)
        # Why something is recommended tells what others did: a smaller tier knows nothing of that.
        return hybrid.with_facts(self.learned) if tier == "stream" else hybrid

    def histories(self, most: int) -> tuple[list[list[str]], list[list[float] | None]]:
        """Item ids and times, in seconds, of the first `most` histories."""
        ids, rows = self.learned.catalogue.table.item_ids, self.learned.histories.between(0, most)
        days = self.learned.days[: len(rows.values)] * _DAY
        times = [days[start:end].tolist() for start, end in zip(rows.offsets, rows.offsets[1:], strict=False)]
        return [[ids[item] for item in row] for row in rows], [None if np.isnan(each).any() else each for each in times]


def load_foundation(path: Path) -> Foundation:
    """A saved foundation ranker. Raises `BadInput` for something else."""
    from components.foundation.foundation import Foundation

    return Foundation.load(path)


def tier_of(name: str) -> Tier:
    """Raises `BadInput` for what is no tier."""
    from components.foundation.tiers import TIERS

    for tier in TIERS:
        if name == tier:
            return tier
    raise BadInput(f"{name!r} is no tier", where="--tier", mend=f"give one of {', '.join(TIERS)}")


def table(judged: Mapping[Tier, Judged]) -> list[str]:
    """The tiers and all contenders as lines for a terminal, the best first; and where ours is behind a rival."""
    lines = []
    for tier, found in judged.items():
        chosen = f"; answers {found.answers}, chosen by the events before" if found.answers else ""
        lines.append(f"{tier}: NDCG@10 of {found.users:,} users{chosen}")
        for name, figure in sorted(found.figures.items(), key=lambda each: (-each[1], each[0])):
            beside = ""
            if name in found.differences:
                mean, low, high = found.differences[name]
                beside = f"  {found.ours} {mean:+.4f} (95 % {low:+.4f} to {high:+.4f})"
            lines.append(f"  {name:<16} {figure:.4f}{beside}")
        if found.differences[found.rival][2] < 0:
            own = "`idiom retrain` teaches a ranker of the shop's own"
            lines.append(f"  BEWARE: {found.rival} alone is better here, beyond chance; {own}")
    return lines


def read(workspace: Path, params: Params) -> None:
    """Raw files -> canonical tables. Raises `StageError` as the stage does."""
    from components import stages

    stages.ingest(workspace, params)


def look(workspace: Path, params: Params, progress: Progress | None = None) -> Params:
    """What lies beside the texts of all items that `read` published, as vectors and words; the settings with these.

    Words are those of `readable`. Nothing is made where there are neither relations nor media.
    """
    from components.views.build import build
    from components.views.readable import readable

    layout, raw = Layout(workspace, params.dataset), workspace / params.ingest.path
    params = replace(params, views=replace(params.views, words=readable(layout, params.views)))
    build(params.views, params.ingest, raw, layout, seed=params.seed, progress=progress, whole=True)
    return params


def open_shop(
    workspace: Path,
    params: Params,
    *,
    bundle: Path | None = None,
    writer: Path | None = None,
    progress: Progress | None = None,
) -> Opened:
    """What `read` published, as a catalogue with IDs and its histories. The IDs are written by the generator of
    `bundle`, or by the instruct model in the folder `writer`, or by rule."""
    from components.data.clean.whole import whole
    from components.foundation.ids import written
    from components.recommender.catalogue import Catalogue
    from components.storage.ragged import Ragged
    from components.textid.words.tokenizer import end_id
    from components.voices.learned import Learned, in_order

    shop = whole(params.clean, params.seed, Layout(workspace, params.dataset))
    item_ids, texts = shop.items["item_id"].to_list(), shop.items["text"].to_list()
    table, report, tokenizer = written(item_ids, texts, params.index, bundle=bundle, writer=writer, progress=progress)
    titles = dict(zip(item_ids, shop.items["title"].to_list(), strict=True)) if "title" in shop.items.columns else {}
    catalogue = Catalogue(table, titles, shop.aliases, params.clean.drop_repeats)
    places = [catalogue.places(history) for history in shop.histories["history"].to_list()]
    histories = Ragged.of([[row for _, row in each] for each in places])
    moments = zip(shop.histories["timestamps"].to_list(), places, strict=True)
    days = np.array([day for times, each in moments for day in _days([times[at] for at, _ in each])], np.float64)
    columns = in_order(item_ids, shop.items.to_dict(as_series=False))
    learned = Learned(catalogue, histories, days, columns, params.seed, views=_views(workspace, params, item_ids))
    trie = catalogue.trie(end_id(tokenizer))
    return Opened(learned, core_of(params), report, trie.nodes, shop.left_out)


def judge(
    workspace: Path,
    params: Params,
    foundation: Foundation | None,
    *,
    most_users: int,
    bundle: Path | None = None,
    named: Catalogue | None = None,
    progress: Progress | None = None,
) -> dict[Tier, Judged]:
    """The tiers on the shop's own last items, leave-one-out, the whole catalogue ranked, by at most `most_users`.

    Of what `read` published makes the clean tables, k-core and all. What is asked for is in no table that anything here
    learns from. In the tier `stream` ours is who answers there, chosen by the events before. With `bundle` its language
    model is a contender more, beside the fixed weights; `named`: the catalogue with the IDs that its generator wrote
    (`Opened.learned`). Raises `BadInput` for a shop with too few histories, `GateRefused` where they do not pass.
    """
    from components import stages
    from components.foundation.choosing import TIER, as_chosen, choose
    from components.foundation.language import Language
    from components.foundation.trial import trial
    from components.foundation.weights import preset

    stages.validate(workspace, params)
    stages.clean(workspace, params)
    learned, asked = split(workspace, params, on="test", most_users=most_users)
    language = None
    if bundle is not None and named is not None:
        ids = _ids(asked.item_ids, named)
        if ids is None:
            from components.foundation.ids import written

            texts = learned.texts["text"]
            ids, _, _ = written(asked.item_ids, texts, params.index, bundle=bundle, progress=progress)
        language = Language.load(bundle, ids, drop_repeats=params.clean.drop_repeats)
    ask: dict[str, Any] = {"core": core_of(params), "masked": params.clean.drop_repeats, "progress": progress}
    found = trial(learned, held_of(asked), foundation, preset(), language=language, **ask)
    chosen = choose(learned, foundation, preset(), **ask)
    return {**found, TIER: as_chosen(found[TIER], chosen)}


def _ids(item_ids: Sequence[str], named: Catalogue) -> IdTable | None:
    """The IDs of the items of the clean tables, by those of the whole catalogue; None where two of them are one there.

    Items of equal text are merged into the smallest id, which in the clean tables is that of one whom somebody took.
    """
    kept = [named.table.item_ids[named.row_of[item]] for item in item_ids]
    if len(set(kept)) < len(kept):
        return None
    return replace(named.table.only(kept), item_ids=tuple(item_ids))


def teach(
    sources: Sequence[tuple[str, Path, Params]],
    chosen: Settings,
    *,
    seed: int,
    weight_users: int = 0,
    progress: Progress | None = None,
) -> tuple[Foundation, dict[Tier, dict[str, float]]]:
    """A foundation ranker from sources (name, workspace, params) that were `read`, and, with `weight_users` of each,
    the fixed weights of every tier.

    Both learn to find the last item of every training history, which the voices do not know; no validation or test item
    of any source is looked at. Raises `BadInput` where none has anything to learn from.
    """
    from components.foundation.school import taught_by

    return taught_by(_learned_of(sources), chosen, seed=seed, weight_users=weight_users, progress=progress)


def _learned_of(sources: Sequence[tuple[str, Path, Params]]) -> Iterator[tuple[str, Learned, int]]:
    """(name, training histories, k of the k-core) of each source."""
    from components import stages

    for name, workspace, params in sources:
        stages.validate(workspace, params)
        stages.clean(workspace, params)
        yield name, split(workspace, params, on="valid", most_users=1)[0], core_of(params)


def split(workspace: Path, params: Params, *, on: str, most_users: int) -> tuple[Learned, Cases]:
    """What voices may learn from, and who is asked; items are known by their ids alone."""
    import polars as pl

    from components.evaluation.arrays import cases
    from components.recommender.catalogue import Catalogue
    from components.storage import parquet
    from components.textid.table.id_table import IdTable
    from components.voices.learned import Learned, in_order

    layout = Layout(workspace, params.dataset)
    items = pl.DataFrame(parquet.read(layout.items_clean))
    histories, valid = (pl.DataFrame(parquet.read(path)) for path in (layout.histories, layout.valid_targets))
    targets = valid if on == "valid" else pl.DataFrame(parquet.read(layout.test_targets))
    asked = cases(items, histories, valid, targets, max_users=most_users, seed=params.seed)
    table = IdTable(asked.item_ids, asked.item_ids, tuple((number,) for number in range(len(asked.item_ids))))
    catalogue = Catalogue(table, drop_repeats=params.clean.drop_repeats)
    texts = in_order(asked.item_ids, items.to_dict(as_series=False))
    views = _views(workspace, params, asked.item_ids)
    return Learned(catalogue, asked.train, asked.train_days, texts, params.seed, views=views), asked


def _views(workspace: Path, params: Params, item_ids: Sequence[str]) -> Mapping[str, Vectors]:
    """What `look` made of these items; nothing where it was not asked."""
    from components.storage import vectors

    folder = Layout(workspace, params.dataset).views
    return vectors.load(folder, item_ids) if folder.is_dir() else {}


def held_of(asked: Cases) -> Held:
    """The histories that ask, and their targets."""
    from components.ranking.lists import Held

    return Held(asked.prompts, asked.prompt_days, asked.targets)


def core_of(params: Params) -> int:
    """Below how many events counts are not told apart: a k-core of all interactions would give held-out ones away."""
    return params.clean.min_item_interactions if params.clean.core == "all" else 0


def _days(moments: Sequence[Any]) -> list[float]:
    """Days since 1970 of a history; NaN where one of its times is not known, as `clean` has it."""
    if None in moments:
        return [float("nan")] * len(moments)
    return [each.timestamp() / _DAY for each in moments]
