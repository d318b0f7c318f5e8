"""IDs for an unknown catalogue: by the generator of a trained bundle, by a pretrained instruct model, or, without
either, its most distinctive words.

table, report, tokenizer = written(item_ids, texts, params.index, writer=Path("work/smollm2-135m-instruct"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.progress import Progress
from components.settings.params import Index
from components.textid.table.id_table import IdTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORDS = 5
"""Words of an ID that no generator writes."""
_VOCABULARY = 8192


def written(
    item_ids: Sequence[str],
    texts: Sequence[str],
    settings: Index,
    *,
    bundle: Path | None = None,
    writer: Path | None = None,
    progress: Progress | None = None,
) -> tuple[IdTable, dict[str, Any], PreTrainedTokenizerBase]:
    """The table in the order of `item_ids`, a report, and the tokenizer that spells it.

    bundle: a trained pair or bundle, whose generator writes words of each item's own text alone (`settings.faithful`).
    writer: the folder of a pretrained instruct model, which is asked for words of each item's own text
    (textid/writing/instructed.py). Without either an ID is the most distinctive words of its text, in the order they
    occur, and a tokenizer is trained on the texts. Raises `BadInput` for a bundle or a model that cannot be read, or
    too few tokens for unique IDs.
    """
    if bundle is not None:
        return _generated(item_ids, texts, settings, bundle, progress)
    if writer is not None:
        return _asked(item_ids, texts, settings, writer, progress)
    from components.textid.words.distinctive import WordStatistics
    from components.textid.words.tokenizer import train_tokenizer
    from components.textid.writing.imported import adopt

    tokenizer = train_tokenizer(texts, vocabulary_size=_VOCABULARY)
    statistics = WordStatistics.of(texts)
    names = {item: statistics.name(row, _WORDS) for row, item in enumerate(item_ids)}
    table, report = adopt(names, tokenizer, item_ids, texts, max_tokens=settings.max_tokens)
    return table, {"by": "distinctive words", **report}, tokenizer


def _asked(
    item_ids: Sequence[str], texts: Sequence[str], settings: Index, writer: Path, progress: Progress | None
) -> tuple[IdTable, dict[str, Any], PreTrainedTokenizerBase]:
    from components.textid.writing import instructed
    from components.textid.writing.writer import write_ids

    model, tokenizer = instructed.load(writer)
    table, report = write_ids(
        model,
        tokenizer,
        item_ids,
        texts,
        instructed.search(settings),
        max_item_tokens=instructed.MAX_ITEM_TOKENS,
        progress=progress,
    )
    return table, {"by": "instruct model", **report}, tokenizer


def _generated(
    item_ids: Sequence[str], texts: Sequence[str], settings: Index, bundle: Path, progress: Progress | None
) -> tuple[IdTable, dict[str, Any], PreTrainedTokenizerBase]:
    from components.recommender.pair import Pair
    from components.textid.writing.writer import write_ids

    pair = Pair.load(bundle)
    table, report = write_ids(
        pair.generator,
        pair.tokenizer,
        item_ids,
        texts,
        settings,
        max_item_tokens=pair.facts["train"]["max_item_tokens"],
        progress=progress,
    )
    return table, {"by": "generator", **report}, pair.tokenizer
