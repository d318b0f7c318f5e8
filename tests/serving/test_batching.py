"""Batches: what waits is answered together, every request by one model, and a failure is that of its batch alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from components.registry.requests import Row
from components.serving.batching import MAX_ROWS, Batches


def rows(*names: str) -> list[Row]:
    return [Row([name], 1) for name in names]


def test_what_waits_is_one_batch_and_each_gets_its_own() -> None:
    """Prevents answers handed to the wrong client, and a batch for each of fifty clients."""
    asked: list[list[str]] = []
    go = threading.Event()

    def answer(batch: Sequence[Row]) -> tuple[Any, list[dict[str, Any]]]:
        go.wait(10)
        asked.append([row.history[0] for row in batch])
        return len(asked), [{"of": row.history[0]} for row in batch]

    async def all_at_once() -> list[Any]:
        batches = Batches(answer)
        first = asyncio.create_task(batches.ask(rows("a")))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batches.ask(rows(*names))) for names in (("b", "c"), ("d",))]
        many = asyncio.create_task(batches.ask(rows(*map(str, range(MAX_ROWS)))))
        await asyncio.sleep(0.05)
        assert batches.depth == 3
        go.set()
        found = [await each for each in (first, *others, many)]
        await batches.close()
        return found

    found = asyncio.run(all_at_once())
    assert asked[:2] == [["a"], ["b", "c", "d"]] and len(asked) == 3
    assert [who for who, _ in found] == [1, 2, 2, 3]
    assert [[one["of"] for one in answers] for _, answers in found[:3]] == [["a"], ["b", "c"], ["d"]]
    assert [one["of"] for one in found[3][1]] == [str(number) for number in range(MAX_ROWS)]


def test_a_failure_reaches_its_batch_and_no_other() -> None:
    """Prevents a queue that stops for ever after one bug, and clients that wait for an answer that never comes."""

    def answer(batch: Sequence[Row]) -> tuple[Any, list[dict[str, Any]]]:
        if batch[0].history == ["bad"]:
            raise ZeroDivisionError
        return "model", [{} for _ in batch]

    async def both() -> None:
        batches = Batches(answer)
        with pytest.raises(ZeroDivisionError):
            await batches.ask(rows("bad"))
        assert await batches.ask(rows("good")) == ("model", [{}])
        await batches.close()

    asyncio.run(both())
