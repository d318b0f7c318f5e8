"""IDs by a rule instead of a generator: an imported table, titles, random words (`train.ids`); for comparison.

    table, report = write_given(IdRule("titles", seed=17), tokenizer, items_clean, max_tokens=10)

A rule does not learn: one table serves all rounds, the generator is not trained, and the stage `index` names new items
by the same rule (`taken`: the pair's table).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.networks.tokenizer import load_tokenizer
from components.recommender.pair import FACTS, ID_TABLE, TOKENIZER
from components.settings.params import Index
from components.settings.train import IdSource
from components.storage import parquet
from components.storage.artifacts import read_json
from components.storage.manifest import verify_manifest
from components.textid.table.id_table import IdTable
from components.textid.writing.imported import adopt, read_imported
from components.textid.writing.random_ids import random_words
from components.training.job import Job


@dataclass(frozen=True)
class IdRule:
    """Where the IDs come from; `seed` draws the random words, `file` is the imported table."""

    source: IdSource
    seed: int
    file: Path | None = None


def given_table(job: Job, tokenizer: PreTrainedTokenizerBase, *, taken: IdTable | None = None) -> IdTable | None:
    """The IDs that stand before a training begins: its rule's or, for generated ones to start from, `imported_ids`.

    taken: the table of the pair that the training goes on from, whose items keep their ID. None where the generator is
    to write all, or all that are not taken. Raises `BadInput` for a file that is no such table.
    """
    source = job.train.ids
    if source == "generated":
        if job.train.imported_ids is None or taken is not None:
            return None
        source = "imported"
    rule = IdRule(source, job.seed, _imported(job))
    return write_given(rule, tokenizer, job.items_clean, max_tokens=job.index.max_tokens, taken=taken)[0]


def words_given(job: Job) -> list[str]:
    """The words beside the item texts that a training's rule makes IDs of: its vocabulary must hold them.

    Raises `BadInput` as `given_table` does.
    """
    if job.train.ids == "titles":
        return [title for title in parquet.read(job.items_clean, ["title"])["title"].to_pylist() if title]
    file = _imported(job)
    return list(read_imported(file).values()) if file else []


def write_given(
    rule: IdRule,
    tokenizer: PreTrainedTokenizerBase,
    items_clean: Path,
    *,
    max_tokens: int,
    taken: IdTable | None = None,
) -> tuple[IdTable, dict[str, Any]]:
    """The table of a catalogue by a rule, and its report; items in `taken` keep their ID.

    All rules are made unique alike, as `adopt` says. Raises `BadInput` for a catalogue without titles, or for an
    imported file that is no such table.
    """
    columns = ["item_id", "text", *(["title"] if rule.source == "titles" else [])]
    items = parquet.read(items_clean, columns).to_pydict()
    item_ids, texts = items["item_id"], [text or "" for text in items["text"]]
    if rule.source == "titles":
        words = {item: title or "" for item, title in zip(item_ids, items["title"], strict=True)}
    elif rule.source == "random":
        used = () if taken is None else taken.words
        new = [item for item in item_ids if taken is None or item not in taken.row_of]
        words = random_words(tokenizer, new, texts, seed=rule.seed, max_tokens=max_tokens, taken=used)
    else:
        if rule.file is None:
            raise BadInput("no table of IDs is named", where="train.imported_ids", mend="name the one to import")
        words = read_imported(rule.file)
    return adopt(words, tokenizer, item_ids, texts, max_tokens=max_tokens, taken=taken)


def index_given(pair: Path, items_clean: Path, settings: Index, file: Path | None) -> tuple[IdTable, dict[str, Any]]:
    """The table of a catalogue by the rule of a trained pair; as `index_ids`, for a pair whose generator never wrote.

    file: where the pair's `train.imported_ids` lies. With `settings.stable` items of the pair's table keep their ID.
    """
    verify_manifest(pair)
    facts, before = read_json(pair / FACTS), IdTable.load(pair / ID_TABLE)
    table, report = write_given(
        IdRule(facts["train"]["ids"], facts["seed"], file),
        load_tokenizer(pair / TOKENIZER),
        items_clean,
        max_tokens=settings.max_tokens,
        taken=before if settings.stable else None,
    )
    return table, report | {"churn": table.churn(before)}


def _imported(job: Job) -> Path | None:
    return job.imported_ids or (Path(job.train.imported_ids) if job.train.imported_ids else None)
