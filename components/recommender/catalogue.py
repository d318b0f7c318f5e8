"""The catalogue of one shop: its items with their textual IDs and titles, and how histories of it are read.

    catalogue = Catalogue.load(bundle, drop_repeats=True)
    catalogue.rows(["B001", "merged away", "unknown"])         # item numbers [0, 17]

An item's number is its row in the ID table, whose order `clean` draws: ties of scores are ties by item number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.settings.decoding import Decoding
from components.storage import parquet
from components.textid.table.id_table import IdTable

if TYPE_CHECKING:
    from components.recommender.trie.trie import Trie

ID_TABLE, ITEMS, ALIASES = "id_table.parquet", "items.parquet", "aliases.parquet"
"""Files of a catalogue, in a pair, a bundle or beside a voice; a pair has the first alone."""


@dataclass(frozen=True)
class Catalogue:
    """Items, their names, and what `clean` did to histories of them."""

    table: IdTable
    """Item ids, words and token ids."""
    titles: Mapping[str, str | None] = field(default_factory=dict)
    """Item id -> title, as far as there are any."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Item id that `clean` merged away -> the id that stands for it."""
    drop_repeats: bool = True
    """Of an item that a history repeats the first alone counts, under whatever id (`clean.drop_repeats`)."""

    @classmethod
    def load(cls, directory: Path, *, drop_repeats: bool) -> Catalogue:
        """Read `ID_TABLE`, and `ITEMS` and `ALIASES` if they are there. Raises `BadInput` for a damaged one."""
        titles = _columns(directory / ITEMS, "title") if (directory / ITEMS).is_file() else {}
        return cls(IdTable.load(directory / ID_TABLE), titles, read_aliases(directory / ALIASES), drop_repeats)

    def save(self, directory: Path) -> None:
        """Write what `load` reads into an existing directory."""
        self.table.save(directory / ID_TABLE)
        for name, columns, mapping in (
            (ITEMS, ["item_id", "title"], self.titles),
            (ALIASES, ["item_id", "kept_id"], self.aliases),
        ):
            rows = [pa.array(each, pa.string()) for each in (list(mapping), list(mapping.values()))]
            pq.write_table(pa.table(rows, columns), directory / name, compression="zstd")

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Item id, or id that was merged away -> item number."""
        own = self.table.row_of
        return {gone: own[kept] for gone, kept in self.aliases.items() if kept in own} | own if self.aliases else own

    def canonical(self, history: Iterable[str]) -> list[str]:
        """A history as training had it: the id that stays in place of one that was merged away, then no repeats.

        Unknown ids stay in it.
        """
        ids, row_of = self.table.item_ids, self.row_of
        items = [ids[row_of[item]] if item in row_of else item for item in history]
        return list(dict.fromkeys(items)) if self.drop_repeats else items

    def masks(self, decoding: Decoding) -> bool:
        """Whether items of the history are left out: as `decoding.mask_seen` says; null: where people take items once.

        The one place that decides it for validation, evaluation, scoring and serving."""
        return self.drop_repeats if decoding.mask_seen is None else decoding.mask_seen

    def rows(self, history: Sequence[str]) -> list[int]:
        """Item numbers of the known items of a canonical history."""
        return [self.row_of[item] for item in self.canonical(history) if item in self.row_of]

    def places(self, history: Sequence[str]) -> list[tuple[int, int]]:
        """Of each item of `rows` its place in the history as it was given, and its number."""
        row_of = self.row_of
        known = [(place, row_of[item]) for place, item in enumerate(history) if item in row_of]
        if not self.drop_repeats:
            return known
        first: dict[int, int] = {}
        for place, row in known:
            first.setdefault(row, place)
        return [(place, row) for row, place in first.items()]

    def name(self, row: int) -> str:
        """What a person calls an item: its title or, without one, its textual ID."""
        return self.titles.get(self.table.item_ids[row]) or self.table.words[row]

    @property
    def words(self) -> dict[str, str]:
        """Item id -> textual ID."""
        return dict(zip(self.table.item_ids, self.table.words, strict=True))

    def trie(self, end_token: int) -> Trie:
        """The trie of all textual IDs, whose item numbers are those of the catalogue."""
        from components.recommender.trie.trie import Trie  # with torch, which a registration does without

        return Trie.build(self.table.token_ids, end_token=end_token)


def read_aliases(path: Path) -> dict[str, str]:
    """Item id that `clean` merged away -> the id that stands for it; none where there is no such file."""
    return _columns(path, "kept_id") if path.is_file() else {}


def _columns(path: Path, value: str) -> dict[str, Any]:
    """item_id -> `value`."""
    table = parquet.read(path, ["item_id", value])
    return dict(zip(table["item_id"].to_pylist(), table[value].to_pylist(), strict=True))
