"""Samples by hash: who is drawn depends on seed and names alone, and is today who was drawn last year."""

from __future__ import annotations

import functools
import hashlib

from components.sampling import hash_sample

USERS = [f"u{number}" for number in range(40)]


def chosen(names: list[str], count: int, salt: str) -> list[str]:
    return [names[at] for at in hash_sample(names, count, salt)]


def test_a_sample_does_not_depend_on_the_order_of_names() -> None:
    """Prevents another validation sample after a re-sorted table, one that follows the user ids, and one that is the
    same whatever the seed."""
    assert chosen(USERS, 10, "17/") == chosen(USERS[::-1], 10, "17/")
    assert chosen(USERS, 10, "17/") not in (USERS[:10], chosen(USERS, 10, "18/"))
    assert set(chosen(USERS[:30], 10, "17/")) >= set(chosen(USERS, 10, "17/")) & set(USERS[:30])
    assert sorted(hash_sample(USERS, 99, "17/")) == list(range(40))


def test_the_users_of_old_runs_are_drawn_again() -> None:
    """Prevents figures that are not comparable any more. Each line is a caller: validation, evaluate, the examples of a
    report, clean."""
    assert chosen(USERS, 3, "17/") == ["u5", "u15", "u31"]
    assert chosen(USERS, 3, "17:") == ["u18", "u20", "u12"]
    assert chosen(USERS, 1, "example:17:") == ["u38"]
    blake2b = functools.partial(hashlib.blake2b, digest_size=8)
    assert [USERS[at] for at in hash_sample(USERS, 3, "17:", algorithm=blake2b)] == ["u25", "u16", "u13"]
