"""Samples, orders and seeds by hash of seed and name: the same on every machine, whatever order names come in."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def derive(seed: int, *place: int | str) -> int:
    """A 63-bit seed from the run's seed and a place such as ("recommender", round, epoch); equal on all machines."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


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
