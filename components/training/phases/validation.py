"""Validation after an epoch: NDCG@10 and recall@10 of a fixed sample of users, each over the trie of its catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from components.networks.interface import LanguageModel
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.sampling import hash_sample
from components.settings.decoding import Decoding
from components.textid.table.id_table import IdTable
from components.training.context import Context
from components.training.devices.forward import autocast
from components.training.packed.joint import Shop
from components.training.phases.recommender import neighbour_words, user_ids

K = 10


@dataclass(frozen=True)
class Validation:
    """The sample: `valid_users` users by a hash of seed and user id, whatever the order of the rows; of several
    catalogues as many of each.

    Without those whose target the pair that the training goes on from may have been taught (`train.refit`)."""

    context: Context
    users: list[list[int]]
    """Of each catalogue, places in `Dataset.valid_users`, in the order of the hash."""

    @classmethod
    def sample(cls, context: Context) -> Validation:
        count, names = context.job.train.recommender.valid_users, context.data.valid_users
        fair = np.arange(len(names))
        if context.known is not None and len(context.known.beyond):
            rows = context.data.valid_rows
            fair = np.flatnonzero((rows < 0) | ~context.known.beyond[np.maximum(rows, 0)])
        shops, users = context.data.shops, list[list[int]]()
        number = np.searchsorted([shop.end for shop in shops], context.data.valid_targets[fair], side="right")
        for at in range(len(shops)):
            own = fair[number == at]
            drawn = hash_sample(Chosen(names, own), max(1, count // len(shops)), f"{context.job.seed}/")
            users.append([int(own[place]) for place in drawn])
        return cls(context, users)

    def measure(self, recommender: LanguageModel, table: IdTable, progress: Progress) -> dict[str, float]:
        """recall@10 and NDCG@10 of the sample; the ranks share the users. No targets: no figures. Of several catalogues
        their mean, each counting alike, and `ndcg_at_10_NAME`, `recall_at_10_NAME` of each.

        Through the engine that serves, with `trie` scores. Histories are read as `clean` left them, and their items are
        left out where it dropped repeats: where people buy again, no such target could be found otherwise, and the
        state that finds them would not be kept.
        """
        shops = self.context.data.shops
        found = {
            shop.name: self._measured(recommender, table, shop, users, progress)
            for shop, users in zip(shops, self.users, strict=True)
            if users
        }
        if not found:
            return {}
        means = {
            name: sum(each[name] for each in found.values()) / len(found) for name in ("ndcg_at_10", "recall_at_10")
        }
        if len(shops) == 1:
            return means
        return means | {f"{metric}_{name}": value for name, each in found.items() for metric, value in each.items()}

    def _measured(
        self, recommender: LanguageModel, table: IdTable, shop: Shop, users: list[int], progress: Progress
    ) -> dict[str, float]:
        context, data = self.context, self.context.data
        own = list(range(context.ranks.rank, len(users), context.ranks.size))
        histories = [shop.own(data.item_ids[item] for item in data.valid_prompt(users[at])) for at in own]
        recommender.module.eval()
        words = neighbour_words(context, table)
        engine = Engine(
            recommender,
            context.pieces,
            Catalogue(shop.table(table), drop_repeats=False),
            max_history=context.job.train.max_history,
            device=context.ranks.device,
            users=user_ids(context, table),
            neighbours=words.answering if words else None,
        )
        beams = context.job.train.recommender.valid_beams
        decoding = Decoding(beams=beams, mask_seen=shop.drop_repeats)
        with autocast(context.job.train.precision, context.ranks.device):
            answers = engine.recommend(histories, min(K, beams), decoding, progress)
        # Each rank fills in its own users; 0 means "not among the first ten", so that the sum over ranks is the union.
        places = torch.zeros(len(users), dtype=torch.int64)
        for at, answer in zip(own, answers, strict=True):
            (target,) = shop.own([data.item_ids[int(data.valid_targets[users[at]])]])
            places[at] = next((place for place, hit in enumerate(answer, 1) if hit.item_id == target), 0)
        places = context.ranks.total(places).cpu()
        found = places[places > 0].double()
        return {
            "ndcg_at_10": float((1 / torch.log2(found + 1)).sum()) / len(users),
            "recall_at_10": len(found) / len(users),
        }


class Chosen(Sequence[str]):
    """Some of many names, which are read when asked for."""

    def __init__(self, names: Sequence[str], rows: NDArray[np.int64]) -> None:
        self._names, self._rows = names, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._names[int(row)] for row in self._rows[index]]
        return self._names[int(self._rows[index])]


def improves(metrics: dict[str, Any], best: float) -> bool:
    """Whether a state is better than the best so far; without validation targets every later state is taken."""
    return not metrics or metrics["ndcg_at_10"] > best
