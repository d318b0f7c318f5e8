"""Computes pieces of work on as many threads as torch may use, each piece with one thread.

    with closing(on_threads(work, pieces)) as results:
        for result in results: ...

The matrix products of small models are too small to be shared by threads; whole pieces of work are not. A sum that one
thread computes is the same, to the bit, however many other threads there are.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

P = TypeVar("P")
R = TypeVar("R")

_AHEAD = 2
"""Pieces a thread that are drawn before their turn, so that none waits for the caller."""
_lock = threading.RLock()
"""Of the two below; taken twice where the garbage collector closes one caller's results while another takes it."""
_inside = Counter[int]()
"""Thread -> its callers that have not left."""
_before = 1
"""Threads that torch had when the first of them came."""


def on_threads(work: Callable[[P], R], pieces: Iterable[P]) -> Generator[R, None, None]:
    """work(piece) of each piece, in their order, by as many threads as torch may use here.

    Results do not depend on that number: torch computes with one thread inside `work`, even of a single piece. The
    calling thread draws the pieces a few ahead of their results. Whatever is raised, by `work`, `pieces` or in the
    caller, ends it after the pieces that are under way; close it (`contextlib.closing`), so that this does not wait
    for the garbage collector.
    """
    rounded, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def do(piece: P) -> R:
        with torch.autocast("cpu", dtype, rounded):  # a setting of the calling thread: it would be lost
            return work(piece)

    with _one_thread() as threads:
        yield from map(work, pieces) if threads == 1 else _pooled(do, pieces, threads)


@contextmanager
def _one_thread() -> Iterator[int]:
    """Torch with one thread inside; yields how many it had.

    Callers in several threads may overlap: the second one finds the 1 of the first, and must not leave that behind.
    torch has a number for each thread, and the last one set for those to come: each thread gets its own back.
    """
    global _before
    caller = threading.get_ident()
    with _lock:
        found = _set_one_thread()
        _before = _before if _inside else found
        _inside[caller] += 1
    try:
        yield found
    finally:
        with _lock:
            _inside[caller] -= 1
            if not _inside[caller]:
                del _inside[caller]
                torch.set_num_threads(_before)


def _set_one_thread() -> int:
    """Returns how many there were. A thread that sets its number before it ever asked loses it when it first asks."""
    found = torch.get_num_threads()
    torch.set_num_threads(1)
    return found


def _pooled(work: Callable[[P], R], pieces: Iterable[P], threads: int) -> Generator[R, None, None]:
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, initializer=_set_one_thread) as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(work, piece))
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
