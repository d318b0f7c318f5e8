"""Lengths of tensors, rounded up, so that there are few shapes."""

from __future__ import annotations


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple
