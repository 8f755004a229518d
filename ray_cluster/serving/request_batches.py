"""Batches of requests: those that arrive while a batch is being scored form the next batch.

No request waits for a batch to fill, so a single request has no extra latency; under load the fixed cost of a feature
lookup and of a model call is shared (adaptive batching as in Clipper, Crankshaw et al., NSDI 2017, without its delay).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Batches"]

Row = TypeVar("Row")
Result = TypeVar("Result")


class Batches(Generic[Row, Result]):
    """Run a blocking function over rows in one worker thread, with the rows of several requests at a time.

    Args:
        work: rows → results, one for each, in order.
        most: rows per batch; a single request may have more and is then a batch by itself.
    """

    def __init__(self, work: Callable[[Sequence[Row]], list[Result]], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[list[Row], asyncio.Future[list[Result]]]] = deque()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._drain: asyncio.Task[None] | None = None

    async def run(self, rows: list[Row]) -> list[Result]:
        """Results for ``rows``; raises only errors of ``work`` for these rows, not for other requests' rows."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Result]] = loop.create_future()
        self._waiting.append((rows, future))
        if self._drain is None or self._drain.done():
            self._drain = loop.create_task(self._drain_all())
        return await future

    async def _drain_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft()]
            size = len(batch[0][0])
            while self._waiting and size + len(self._waiting[0][0]) <= self._most:
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0])
            batch = [(rows, future) for rows, future in batch if not future.done()]  # its client disconnected
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[list[Row], asyncio.Future[list[Result]]]]) -> None:
        loop = asyncio.get_running_loop()
        together = [row for rows, _ in batch for row in rows]
        try:
            results = await loop.run_in_executor(self._worker, self._work, together)
        except Exception as error:
            if len(batch) == 1:
                if not batch[0][1].done():
                    batch[0][1].set_exception(error)
                return
            for each in batch:
                await self._answer([each])
            return
        taken = 0
        for rows, future in batch:
            if not future.done():
                future.set_result(results[taken : taken + len(rows)])
            taken += len(rows)
