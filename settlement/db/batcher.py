"""Group commit across requests: calls of one SQL function that arrive together travel and commit together."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from settlement.db.outages import CONFLICTS, OUTAGES, OUTAGES_FOR_ALL, REFUSALS, refused
from settlement.errors import ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")
Batch: TypeAlias = Sequence[tuple[Item, asyncio.Future[Result]]]

GIVE_UP_AFTER_S = 3.0
"""A call that the database has not taken for so long is not tried again: whoever waits gets to hear of it."""


class Batcher(Generic[Item, Result]):
    """Collects items while earlier batches are under way and runs them together, one result per item, in order.

    ``run`` must be idempotent per item: after an outage it is called again with the same item.
    ``submit`` raises ``ServiceError`` OVERLOADED at once when ``queue_max`` items wait, ``DatabaseRefused`` when the
    database does not take it and nothing was done, and whatever ``run`` raises for an item that fails alone.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        batch_max: int = 64,
        queue_max: int = 2_000,
        lanes: int = 2,
        attempts: int = 6,
    ) -> None:
        self._run = run
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._lanes = lanes
        self._attempts = attempts
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._lanes_open = 0
        self._running: set[asyncio.Task[None]] = set()

    @property
    def depth(self) -> int:
        """How many items wait for a batch."""
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Run one item with whatever else arrives at the same time; returns its own result."""
        if len(self._waiting) >= self._queue_max:
            raise ServiceError("OVERLOADED", retry_after_ms=1_000)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._lanes_open < self._lanes:
            self._lanes_open += 1
            task = asyncio.create_task(self._lane())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def _lane(self) -> None:
        try:
            # One turn of the loop lets requests that are ready now join the first batch.
            await asyncio.sleep(0)
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._batch_max, len(self._waiting)))]
                await self._serve(batch)
        finally:
            # In the same step as the last look at the queue: when a task tells that it is done, whoever was just served
            # may have asked for more, and nobody would come for it.
            self._lanes_open -= 1

    async def _serve(self, batch: Batch[Item, Result]) -> None:
        """Together; after a conflict, or where one item spoils it for the others, each alone."""
        doubts: list[Exception] = []
        try:
            await self._run_until_taken(batch, OUTAGES_FOR_ALL, doubts)
        except Exception as error:
            if isinstance(error, OUTAGES_FOR_ALL) or (len(batch) == 1 and not isinstance(error, CONFLICTS)):
                _fail(batch, error)
                return
            for item in batch:
                await self._serve_alone([item], list(doubts))

    async def _serve_alone(self, one: Batch[Item, Result], doubts: list[Exception]) -> None:
        try:
            await self._run_until_taken(one, (*CONFLICTS, *OUTAGES), doubts)
        except Exception as error:
            _fail(one, error)

    async def _run_until_taken(
        self, batch: Batch[Item, Result], again: tuple[type[Exception], ...], doubts: list[Exception]
    ) -> None:
        """Once more after each error of ``again``, for a while. Raises ``DatabaseRefused`` if there were only refusals:
        then nothing was done. Else the first error that was none: it may have come after the commit, and no refusal
        that follows makes that undone. ``doubts``: such errors, also of the tries before.
        """
        began = asyncio.get_running_loop().time()
        for attempt in itertools.count(1):
            try:
                results = await self._run([item for item, _ in batch])
            except again as error:
                if not isinstance(error, REFUSALS):
                    doubts.append(error)
                late = asyncio.get_running_loop().time() - began > GIVE_UP_AFTER_S
                if late or attempt >= self._attempts:
                    raise (doubts[0] if doubts else refused(error)) from error
                await asyncio.sleep(min(0.05 * 2 ** (attempt - 1), 1.0))
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
                return


def _fail(batch: Batch[Item, Result], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
