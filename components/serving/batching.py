"""Requests that wait together are answered together: one batch at a time, by one model.

    batches = Batches(answer)                      # answer: rows -> (model, answers), called in a thread
    model, answers = await batches.ask(rows)

A batch is what waits when the one before is done: an idle server answers at once, a busy one fills its batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.registry.requests import Row

MAX_ROWS = 64
"""Rows of a batch, but for a single request that has more: what a model decodes at a time."""


@dataclass(frozen=True)
class _Waiting:
    rows: Sequence[Row]
    answer: asyncio.Future[tuple[Any, list[dict[str, Any]]]]


class Batches:
    """A queue of requests and the task that answers it; made and used in one event loop."""

    def __init__(self, answer: Callable[[Sequence[Row]], tuple[Any, list[dict[str, Any]]]]) -> None:
        """answer: what rows get, one answer each, and who gave it (any object)."""
        self._answer = answer
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._held: _Waiting | None = None
        self._task = asyncio.create_task(self._run())
        self.rows_of_last = 0
        """Rows of the last batch."""

    async def ask(self, rows: Sequence[Row]) -> tuple[Any, list[dict[str, Any]]]:
        """Answers of one request, all by one model. Raises what `answer` raises."""
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(waiting)
        return await waiting.answer

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return self._waiting.qsize() + (self._held is not None)

    async def close(self) -> None:
        """End the task; what waits is cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while not self._waiting.empty():
            self._waiting.get_nowait().answer.cancel()

    async def _run(self) -> None:
        while True:
            batch = await self._next()
            rows = [row for each in batch for row in each.rows]
            self.rows_of_last = len(rows)
            try:
                model, answers = await asyncio.to_thread(self._answer, rows)
            except Exception as error:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            start = 0
            for each in batch:
                own, start = answers[start : start + len(each.rows)], start + len(each.rows)
                if not each.answer.done():  # its client may have gone
                    each.answer.set_result((model, own))

    async def _next(self) -> list[_Waiting]:
        """The requests of the next batch, in order."""
        batch = [self._held or await self._waiting.get()]
        self._held, size = None, len(batch[0].rows)
        while not self._waiting.empty():
            following = self._waiting.get_nowait()
            size += len(following.rows)
            if size > MAX_ROWS:
                self._held = following
                break
            batch.append(following)
        return batch
