"""Who and what has to be forgotten: keyed hashes of ids, and the record of each deletion.

    forgotten = Forgotten.read(folder / FORGOTTEN)
    forgotten.among("user", ids)                     # [ids] whether each is to be forgotten

The ids themselves are kept nowhere. The key lies beside the hashes, as every later drop has to be filtered: whoever has
both can ask of an id that he knows already whether it was deleted, and learns no other.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl

from components.errors import BadInput
from components.storage.artifacts import publish_json, read_json

FORGOTTEN = "forgotten.json"
Kind = Literal["user", "item"]


@dataclass(frozen=True)
class Forgotten:
    """Deletions of one data set, oldest first."""

    key: str
    """Key of the hashes, hex; drawn once for a data set."""
    entries: tuple[dict[str, Any], ...] = ()
    """`kind`, `hash`, `at` (UTC), `by`, `removed` (counts)."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote, or none with a new key. Raises `BadInput` for a damaged file."""
        if not path.is_file():
            return cls(secrets.token_hex(32))
        found = read_json(path)
        if not isinstance(found, dict) or not {"key", "entries"} <= set(found):
            raise BadInput("not a record of deletions", where=str(path), mend="restore it: dvc checkout, or a backup")
        return cls(found["key"], tuple(found["entries"]))

    def write(self, path: Path) -> None:
        publish_json(path, {"key": self.key, "entries": list(self.entries)})

    def hash_of(self, kind: Kind, name: str) -> str:
        """The hash by which a deleted id is known: HMAC-SHA-256, hex."""
        return hmac.new(bytes.fromhex(self.key), f"{kind}:{name}".encode(), hashlib.sha256).hexdigest()

    def with_entries(self, entries: Sequence[dict[str, Any]]) -> Self:
        return replace(self, entries=(*self.entries, *entries))

    def has(self, kind: Kind, name: str) -> bool:
        return self.hash_of(kind, name) in self._hashes(kind)

    def among(self, kind: Kind, ids: pl.Series) -> pl.Series:
        """[ids] booleans: which are to be forgotten; a microsecond an id, nothing where none are."""
        known = self._hashes(kind)
        if not known:
            return pl.repeat(False, len(ids), dtype=pl.Boolean, eager=True)
        return pl.Series([name is not None and self.hash_of(kind, name) in known for name in ids], dtype=pl.Boolean)

    def _hashes(self, kind: Kind) -> set[str]:
        return {entry["hash"] for entry in self.entries if entry["kind"] == kind}
