"""Moments as a person writes them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from components.errors import BadInput


def moment(text: str, option: str) -> datetime:
    """`2024-05-01` or `2024-05-01T12:00`, UTC where it says no zone. Raises `BadInput`, which names the option."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is no date", where=option, mend="write it as 2024-05-01, UTC") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
