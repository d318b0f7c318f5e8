"""Words of an item's neighbours behind its ID in the prompt, where `train.neighbours` names a voice.

    listed = Listed.load(folder)                                # written by voices/neighbours.py
    words = NeighbourWords.of(listed, table, tokenizer, separator, words=4)
    words.answering.row(3)                                      # tokens behind item 3 where the model is asked
    save(folder, table, words.answering, tokenizer); load(folder, item_ids)       # of a pair

An item with neighbours is its ID and a separator, and then, the best neighbour first, a mark and the neighbour's name
for each, and a separator again. A mark is a token that stands in no ID, so that nobody takes a neighbour for an item of
the history. What is read here is never taught. Neighbours in words: GRAM (Lee et al., ACL 2025), there for an encoder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.storage.ragged import Ints, Ragged, RaggedWriter, mapped
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import decode_words, encode_words

FILE = "neighbours.parquet"
"""In a pair: item_id, words, token_ids of what is read behind each item that has neighbours."""
_ITEMS, _BLOCKS = "items", "blocks"
_MARK = ","


@dataclass(frozen=True)
class Listed:
    """The neighbours of all items, once for each fold of users and once for everybody."""

    items: Ragged
    """Row block * items + item: neighbours of an item as item numbers, the best first. The last block was made of all
    users, block f of those that read another one."""
    blocks: Ints
    """[users] the block that each user's training prompts read, in the order of the training histories."""
    count: int
    """Items of the catalogue."""

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        with RaggedWriter(folder, _ITEMS, np.int32) as writer:
            writer.add(self.items.lengths, self.items.values)
        (folder / _BLOCKS).write_bytes(self.blocks.astype("<i8").tobytes())

    @classmethod
    def load(cls, folder: Path, *, count: int, users: int) -> Self:
        """What `save` wrote. Raises `BadInput` for another catalogue or other users."""
        found = cls(Ragged.load(folder, _ITEMS, np.int32), mapped(folder / _BLOCKS, np.int64), count)
        if len(found.blocks) != users or not count or len(found.items) % count:
            mend = "remove the work folder of this training and run it again"
            raise BadInput("the neighbours are of other items or users", where=str(folder), mend=mend)
        return found


@dataclass(frozen=True)
class NeighbourWords:
    """What is read behind the items of training prompts, under one ID table."""

    tokens: Ragged
    """Rows as in `Listed.items`; none for an item without neighbours."""
    blocks: Ints
    """[users] as in `Listed`."""
    count: int
    dropout: float = 0.0
    """Share of the items in training prompts that stand without."""

    @classmethod
    def of(
        cls, listed: Listed, table: IdTable, tokenizer: Any, separator: Sequence[int], *, words: int, dropout: float
    ) -> Self:
        """`words`: most of a neighbour's name. `table` numbers the items as `listed` does."""
        mark = mark_of(tokenizer, separator)
        spoken = Ragged.of([*((*mark, *name) for name in names(table, tokenizer, words)), tuple(separator)])
        lengths = listed.items.lengths
        some = np.flatnonzero(lengths)
        # Behind the last neighbour of a row the separator, as one more row of `spoken`.
        numbers = np.insert(listed.items.values.astype(np.int64), listed.items.offsets[some + 1], len(table))
        rows = Ragged.cut(numbers, lengths + (lengths > 0))
        tokens = spoken.gather(rows.values)[2]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(spoken.lengths_of(rows.values))])
        return cls(Ragged(ends[rows.offsets], tokens), listed.blocks, listed.count, dropout)

    def kinds(self, users: Ints) -> Ints:
        """[n] the row of `tokens` where the items of a user's training prompts begin. A user of none of the training
        histories taught no block anything."""
        known = users < len(self.blocks)
        return np.where(known, self.blocks[np.where(known, users, 0)], 0) * self.count

    @property
    def answering(self) -> Ragged:
        """[items] what is read behind each item where the model is asked: everybody's histories count."""
        return self.tokens.between(len(self.tokens) - self.count, len(self.tokens))


def mark_of(tokenizer: Any, separator: Sequence[int]) -> tuple[int, ...]:
    """What stands before a neighbour: the comma or, where that is the separator, the end token."""
    comma = tokenizer.get_vocab().get(_MARK)
    found = tuple(tokenizer.encode(_MARK, add_special_tokens=False)) if comma is None else (comma,)
    return found if found and found != tuple(separator) else (int(tokenizer.eos_token_id),)


def names(table: IdTable, tokenizer: Any, most: int) -> list[tuple[int, ...]]:
    """Tokens of what each item is called where it is a neighbour: its ID or, of one with more than `most` words, those
    that stand in the fewest IDs (of equal ones the first), in their order."""
    found = list(table.token_ids)
    split = [words.split() for words in table.words]
    held = Counter(word for words in split for word in set(words))
    long = [item for item, words in enumerate(split) if len(words) > most]
    shortened = []
    for item in long:
        words = split[item]
        rarest = sorted(range(len(words)), key=lambda at: (held[words[at]], at))[:most]
        shortened.append(" ".join(words[at] for at in sorted(rarest)))
    for item, tokens in zip(long, encode_words(tokenizer, shortened), strict=True):
        found[item] = tokens
    return found


def save(directory: Path, table: IdTable, behind: Ragged, tokenizer: Any) -> None:
    """Write what is read behind each item of `table` into a pair: a row for each item that has neighbours."""
    some = np.flatnonzero(behind.lengths).tolist()
    tokens = [tuple(behind.row(row).tolist()) for row in some]
    words = decode_words(tokenizer, tokens)
    IdTable(tuple(table.item_ids[row] for row in some), tuple(words), tuple(tokens)).save(directory / FILE)


def load(directory: Path, item_ids: Sequence[str]) -> Ragged | None:
    """[items] what is read behind each item of a catalogue, nothing behind one that the pair does not know; None where
    the model reads no neighbours. The manifest must have been verified. Raises `BadInput` for a damaged file."""
    if not (directory / FILE).is_file():
        return None
    known = IdTable.load(directory / FILE)
    return Ragged.of([known.token_ids[known.row_of[item]] if item in known.row_of else () for item in item_ids])


def reads(facts: Mapping[str, Any]) -> bool:
    """Whether the recommender of a pair reads neighbours, by its pair.json."""
    return bool(((facts.get("train") or {}).get("neighbours") or {}).get("voice"))


def rows_of(behind: Ragged | None, items: Sequence[int] | NDArray[np.integer]) -> list[list[int]] | None:
    """The rows of some items, as `Pieces.build` takes them; None where nothing is read behind items."""
    return None if behind is None else [behind.row(int(item)).tolist() for item in items]
