"""Small pictures of items in a Parquet file, for pages: item id -> JPEG.

pictures = Thumbnails.load(path)                               # of a file that is not there: none
pictures.get("B001")                                           # bytes, or None
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pyarrow as pa

from components.storage import parquet

THUMBNAILS = "thumbnails.parquet"
SCHEMA = pa.schema([("item_id", pa.string()), ("picture", pa.binary())])


class Thumbnails(Mapping[str, bytes]):
    """The pictures of one catalogue, by item id."""

    def __init__(self, table: pa.Table) -> None:
        self._pictures = table["picture"].combine_chunks()
        self._row_of = {item_id: row for row, item_id in enumerate(table["item_id"].to_pylist())}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `BadInput` for a damaged file."""
        return cls(parquet.read(path, SCHEMA.names) if path.is_file() else SCHEMA.empty_table())

    def __getitem__(self, item_id: str) -> bytes:
        found: bytes = self._pictures[self._row_of[item_id]].as_py()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._row_of)

    def __len__(self) -> int:
        return len(self._row_of)
