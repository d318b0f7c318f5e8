"""The ID table: one row an item, `item_id, words, token_ids`, and the contract it must keep (contract.py).

table = IdTable.load(path)
problems = table.violations(tokenizer, max_tokens=10, item_ids=catalogue)   # [] when the contract holds
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.errors import BadInput
from components.storage.artifacts import publishing
from components.textid.table.contract import Violation, check
from components.textid.words.tokenizer import encode_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("words", pa.string(), nullable=False),
        pa.field("token_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
    ]
)


@dataclass(frozen=True)
class IdTable:
    """Three columns of equal length, in the order of the catalogue; `token_ids` without the end token.

    A row is an item's number, by which ties of scores are broken, so the order must not be that of the item ids:
    `clean` draws it (items_clean.parquet), and whoever writes a table keeps it.
    """

    item_ids: tuple[str, ...]
    words: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not len(self.item_ids) == len(self.words) == len(self.token_ids):
            raise ValueError(f"columns of {len(self.item_ids)}, {len(self.words)}, {len(self.token_ids)} rows")
        if len(set(self.item_ids)) < len(self.item_ids):
            raise ValueError("item ids are not unique")

    @classmethod
    def from_words(cls, tokenizer: PreTrainedTokenizerBase, words: Mapping[str, str]) -> IdTable:
        """A table of `item_id -> words`, in the order of the mapping, with the canonical token ids."""
        item_ids = tuple(words)
        column = tuple(words[item_id] for item_id in item_ids)
        return cls(item_ids, column, tuple(encode_words(tokenizer, column)))

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Item id -> row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def only(self, item_ids: Sequence[str]) -> IdTable:
        """The rows of some items, in their order. Raises `KeyError` for one that is not in the table."""
        rows = [self.row_of[item] for item in item_ids]
        words, tokens = (self.words[row] for row in rows), (self.token_ids[row] for row in rows)
        return IdTable(tuple(item_ids), tuple(words), tuple(tokens))

    def save(self, path: Path) -> None:
        """Write parquet, atomically; equal tables give equal bytes."""
        columns = [
            pa.array(self.item_ids, pa.string()),
            pa.array(self.words, pa.string()),
            pa.array(self.token_ids, _SCHEMA.field("token_ids").type),
        ]
        with publishing(path) as temporary:
            pq.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA), temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> IdTable:
        """Read what `save` wrote. Raises `BadInput` if it is missing or no ID table."""
        mend = "run the stage that writes it: dvc repro"
        try:
            with pq.ParquetFile(path) as file:  # read_table imports pandas
                table = file.read(columns=_SCHEMA.names)
        except FileNotFoundError as error:
            raise BadInput("there is no ID table", where=str(path), mend=mend) from error
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"not an ID table: {error}", where=str(path), mend=mend) from error
        try:
            table = table.cast(_SCHEMA)  # refuses other types, and nulls but those inside a list
            tokens = pc.list_flatten(table.column("token_ids"))
            if tokens.null_count or (pc.min(tokens).as_py() or 0) < 0:
                raise ValueError("a token id is missing or negative")
            item_ids, words, token_ids = (table.column(name).to_pylist() for name in _SCHEMA.names)
            return cls(tuple(item_ids), tuple(words), tuple(map(tuple, token_ids)))
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise BadInput(f"not an ID table: {error}", where=str(path), mend=mend) from error

    def digest(self) -> str:
        """SHA-256 over all rows, hex: the recommender of a pair belongs to this table and to no other."""
        state = hashlib.sha256()
        for item_id, words, tokens in zip(self.item_ids, self.words, self.token_ids, strict=True):
            state.update(f"{item_id}\t{words}\t{' '.join(map(str, tokens))}\n".encode())
        return state.hexdigest()

    def contract(
        self, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, item_ids: Sequence[str]
    ) -> list[Violation]:
        """Every rule of the contract with the rows that break it, for a catalogue of `item_ids`."""
        return check(self.item_ids, self.words, self.token_ids, tokenizer, max_tokens=max_tokens, catalogue=item_ids)

    def violations(
        self, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, item_ids: Sequence[str]
    ) -> list[Violation]:
        """Every broken rule of the contract with at most ten rows, for a catalogue of `item_ids`; [] if it is kept."""
        return [rule for rule in self.contract(tokenizer, max_tokens=max_tokens, item_ids=item_ids) if rule["count"]]

    def churn(self, previous: IdTable) -> float:
        """Share of the items in both tables whose words changed, 0 to 1 (0 where the tables share no item)."""
        shared = [(row, previous.row_of[i]) for row, i in enumerate(self.item_ids) if i in previous.row_of]
        changed = sum(self.words[row] != previous.words[before] for row, before in shared)
        return changed / len(shared) if shared else 0.0
