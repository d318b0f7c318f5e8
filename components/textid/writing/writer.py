"""Write the ID table of a catalogue: propose in batches, assign globally, ask again for what is left over.

    table, report = write_ids(model, tokenizer, item_ids, texts, params.index, max_item_tokens=64)

The IDs depend on the set of items, and neither on their order nor on that of their ids. They always keep the contract
of the ID table: where the generator has no free name left for an item (fifty items with one text), a word of its own
text or a number makes it unique, and the report says how often. With `settings.faithful` an ID holds words of its
item's own text alone, and such as set it apart from its near twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from operator import itemgetter
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.errors import BadInput, GateRefused
from components.progress import Progress
from components.settings.params import Index
from components.textid.table.id_table import IdTable
from components.textid.table.quality import quality
from components.textid.table.taken import TakenIds
from components.textid.words.own import OwnWords
from components.textid.words.twins import Twins, near_twins
from components.textid.writing.assign import LEFT_OVER, assign
from components.textid.writing.generator import Generator
from components.textid.writing.last_resort import last_resort
from components.textid.writing.legal import Lexicon
from components.textid.writing.share import ALONE, Share

# The first IDs leave room for one more word.
_FIRST_LENGTH = 0.8


def write_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    item_ids: Sequence[str],
    texts: Sequence[str],
    settings: Index,
    *,
    max_item_tokens: int,
    taken: IdTable | None = None,
    device: torch.device | str | None = None,
    share: Share = ALONE,
    progress: Progress | None = None,
) -> tuple[IdTable, dict[str, Any]]:
    """A unique ID for every item, in the order of `item_ids`, and a report of counts and qualities.

    model: where it reads views (networks/views.py), they are those of `item_ids`, in this order.
    taken: items in it keep their ID; the IDs of items that are gone from the catalogue are not given to others.
    device: where the model is moved to (default: where it is). share: processes that all call this with the same
    arguments share the batches; all of them return what one process alone would. Raises `BadInput` if
    `settings.max_tokens` leaves no free ID, `GateRefused` if the finished table breaks its contract (an ID of `taken`
    that is too long, say).
    """
    catalogue = sorted(zip(item_ids, texts, strict=True), key=itemgetter(1, 0))  # by text: ids tell nothing
    if len(set(item_ids)) < len(catalogue):
        raise BadInput("an item id occurs twice", where="items_clean.parquet", mend="run `dvc repro clean`")
    kept = {} if taken is None else dict(zip(taken.item_ids, taken.words, strict=True))
    taken_ids = TakenIds(tokenizer, max_tokens=settings.max_tokens, taken=kept.values())
    new = [(item, text) for item, text in catalogue if item not in kept]
    ids, texts = [item for item, _ in catalogue], [text for _, text in catalogue]
    own = OwnWords.of(ids, texts)
    twins = near_twins(own)
    lexicon = None
    if settings.faithful:
        rows = [own.row_of[item] for item, _ in new]
        lexicon = Lexicon(tokenizer, own, twins, texts, rows, max_tokens=settings.max_tokens)
    progress = progress or Progress()
    numbers = {item: number for number, item in enumerate(item_ids)}
    generator = Generator(model, tokenizer, settings, max_item_tokens, own, numbers, lexicon, progress, device, share)
    given, counts = _give(new, generator, taken_ids, settings)
    left = {item: generator.first_choices.get(item, "") for item, _ in new if item not in given}
    given |= last_resort(left, texts, own, twins if settings.faithful else Twins({}), taken_ids)
    table = IdTable.from_words(tokenizer, {item: given[item] if item in given else kept[item] for item in item_ids})
    if broken := table.violations(tokenizer, max_tokens=settings.max_tokens, item_ids=ids):
        raise GateRefused(
            f"the ID table breaks its contract: {broken}",
            where="index",
            mend="raise index.max_tokens to that of the pair, or set index.stable: false and train again",
        )
    report = {
        "items": len(table),
        "kept": len(table) - len(given),
        "written": len(given),
        **counts,
        "last_resort": len(given) - sum(attempt["assigned"] for attempt in counts["attempts"]),
        "churn": 0.0 if taken is None else table.churn(taken),
        "digest": table.digest(),
        "settings": {
            "max_tokens": settings.max_tokens,
            "candidates": settings.candidates,
            "faithful": settings.faithful,
        },
        **quality(table, own, twins),
    }
    return table, report


def first_length(settings: Index) -> int:
    """Tokens that the first proposals may have; what a cold start teaches should fit into them."""
    return max(1, ceil(_FIRST_LENGTH * settings.max_tokens))


def _give(
    items: list[tuple[str, str]], generator: Generator, taken_ids: TakenIds, settings: Index
) -> tuple[dict[str, str], dict[str, Any]]:
    """Ask, assign, and ask again for what is left over; item -> words, and counts."""
    given: dict[str, str] = {}
    attempts: list[dict[str, Any]] = []
    left = items
    for attempt in range(settings.retries + 1):
        if not left:
            break
        penalty, length = _stakes(settings, attempt)
        proposals = generator.ask(left, taken_ids, penalty, length, f"writing IDs ({attempt + 1})")
        free = [[option for option in options if option[0] not in taken_ids] for options in proposals]
        chosen = assign(free)
        for (item, _), options, index in zip(left, free, chosen, strict=True):
            if index != LEFT_OVER:
                given[item] = options[index][0]
                taken_ids.take(given[item])
        attempts.append({"asked": len(left), "assigned": sum(index != LEFT_OVER for index in chosen)})
        left = [entry for entry in left if entry[0] not in given]
    firsts = sum(given.get(item) == words for item, words in generator.first_choices.items())
    share = round(firsts / len(items), 6) if items else 1.0
    return given, {"attempts": attempts, "first_choice_share": share}


def _stakes(settings: Index, attempt: int) -> tuple[float, int]:
    """Diversity penalty and greatest length of an attempt: first the penalty doubles, then IDs may grow as well."""
    penalty = (settings.diversity_penalty or float(attempt > 0)) * 2.0**attempt
    return penalty, first_length(settings) if attempt <= settings.retries // 2 else settings.max_tokens
