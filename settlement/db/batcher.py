"""Group commit across requests: calls of one SQL function that arrive together travel and commit together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from settlement.errors import ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")

CONFLICTS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.LockNotAvailableError,
)
"""A batch that met one of these is judged again item by item: the second look sees what the other one committed."""

OUTAGES = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # used after the server said that it hangs up, and before it was seen to
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
    TimeoutError,
    OSError,
)
"""The database is away, or the connection broke, perhaps exactly at COMMIT: the outcome of the call is not known."""


class Batcher(Generic[Item, Result]):
    """Collects items while earlier batches are under way and runs them together, one result per item, in order.

    ``run`` must be idempotent per item: after an outage it is called again with the same item.
    ``submit`` raises ``ServiceError`` OVERLOADED at once when ``queue_max`` items wait, and whatever ``run`` raises for
    an item that fails alone.
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
        if len(self._running) < self._lanes:
            task = asyncio.create_task(self._lane())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def _lane(self) -> None:
        # One turn of the loop lets requests that are ready now join the first batch.
        await asyncio.sleep(0)
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._batch_max, len(self._waiting)))]
            await self._serve(batch)

    async def _serve(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1 and not isinstance(error, (*CONFLICTS, *OUTAGES)):
                _fail(batch[0][1], error)
                return
            for item, future in batch:
                await self._serve_alone(item, future)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _serve_alone(self, item: Item, future: asyncio.Future[Result]) -> None:
        for attempt in range(self._attempts):
            try:
                (result,) = await self._run([item])
            except (*CONFLICTS, *OUTAGES) as error:
                if attempt == self._attempts - 1:
                    _fail(future, error)
                    return
                await asyncio.sleep(min(0.05 * 2**attempt, 1.0))
            except Exception as error:
                _fail(future, error)
                return
            else:
                if not future.done():
                    future.set_result(result)
                return


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
