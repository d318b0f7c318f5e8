"""Samples and orders by hash of seed and name: the same on every machine, whatever order the names come in."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def hash_sample(
    names: Sequence[str], count: int, salt: str, *, algorithm: Callable[[bytes], Any] = hashlib.sha256
) -> list[int]:
    """Positions of the `count` of `names` with the smallest hash of `salt` + name, smallest first.

    A name stays in the sample when others join, unless one of them hashes lower. Of ten million names no more than
    `count` are held in memory. Every caller has its own salt, made of its seed: two samples of one seed differ.
    """

    def key(at: int) -> tuple[bytes, str]:
        name = names[at]
        return algorithm(f"{salt}{name}".encode()).digest(), name

    return heapq.nsmallest(count, range(len(names)), key=key)


def hash_numbers(names: Iterable[str], salt: str) -> list[int]:
    """A number of 64 bits for each name, the hash of `salt` + name: sorted by it, names stand in a drawn order."""
    return [int.from_bytes(hashlib.blake2b(f"{salt}{name}".encode(), digest_size=8).digest()) for name in names]
