"""What a voice may learn from: histories of a catalogue's items, and, where they are known, their days and texts.

learned = Learned(catalogue, histories)                    # item numbers, as a `Ragged`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.storage.ragged import Ragged
from components.storage.vectors import Vectors
from components.voices.fading import Days


@dataclass(frozen=True)
class Learned:
    """What a voice may learn from."""

    catalogue: Catalogue
    histories: Ragged
    """Training histories as item numbers, oldest first."""
    known_days: Days | None = None
    """[events] as `days`; None where no times are known."""
    texts: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Column of the item table -> [items] a text, a list of texts or None each."""
    seed: int = 17
    work: Path | None = None
    """Where a voice that trains long keeps its checkpoints (None: nowhere)."""
    progress: Progress = field(default_factory=Progress)
    of_texts: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """(texts, what was made of these alone): several voices need it, whatever histories they learn from."""
    views: Mapping[str, Vectors] = field(default_factory=dict)
    """View -> [items] vectors of the items (components/storage/vectors.py)."""

    @cached_property
    def days(self) -> Days:
        """[events] days since 1970 of each event of the histories; NaN where its history's times are not known."""
        return np.full(len(self.histories.values), np.nan) if self.known_days is None else self.known_days

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """[items] how often each item occurs."""
        return np.bincount(self.histories.values, minlength=len(self.catalogue.table))

    def of_users(self, rows: NDArray[np.int64]) -> Self:
        """What is known where the users of these histories are all there are."""
        kept = Ragged(self.histories.offsets, self.days).take(rows).values
        known = None if self.known_days is None else kept
        return replace(self, histories=self.histories.take(rows), known_days=known)


def in_order(item_ids: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The columns of an item table, `item_id` among them, in the order of a catalogue's items."""
    place = {item_id: row for row, item_id in enumerate(columns["item_id"])}
    rows = [place[item_id] for item_id in item_ids]
    return {name: [column[row] for row in rows] for name, column in columns.items()}
