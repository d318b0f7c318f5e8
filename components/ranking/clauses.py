"""What an explanation may say: one clause is one fact, which the clean tables show to be true or false.

Clause("next", item="B001", people=41)                     # 41 people took it right after B001
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Kind = Literal["next", "together", "brand_and_kind", "brand", "kind", "relation", "words", "popular", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Facts about an item of the history and the result: so many people took the one right after the other (`next`), or
both (`together`); they are of one brand, deepest category (`kind`) or both; of some relations of a
view they share a tail, such as a director (`relation`); their titles share words. About the result
alone: so many people took it (`popular`). And nothing at all (`none`)."""

LEAST_PEOPLE = 3
"""Fewer are not named."""


@dataclass(frozen=True)
class Clause:
    """One fact about a result."""

    kind: Kind
    item: str | None = None
    """Id of the item of the history that it is about."""
    people: int | None = None
    words: tuple[str, ...] = ()
    """Words of both titles, the rarest first; of a `relation` the names of the relations, that of the rarest tail
    first."""

    def as_json(self) -> dict[str, Any]:
        """For an answer: what it does not have is left out."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items() if value
        }
