"""One thread per bank that owns its database; jobs that wait together are committed together (group commit)."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
State_co = TypeVar("State_co", covariant=True)

_BATCH_MOST = 128
_QUEUE_MOST = 8_192


class Overloaded(Exception):
    """More jobs wait than this bank takes."""


class Runs(Protocol[State_co]):
    """Whoever runs jobs on a state, each in one transaction whose result is handed out only when it is durable."""

    async def start(self) -> None:
        """Open the state."""
        ...

    async def run(self, work: Callable[[State_co], R]) -> R:
        """Run a job; its result."""
        ...

    async def stop(self) -> None:
        """Finish what waits, and close."""
        ...


class _Job:
    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Callable[[Any], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None


class Worker(Generic[T]):
    """Runs jobs one after another on the owner's thread.

    Each job is all or nothing (a savepoint of its own); its result is handed out only after the commit that holds it.
    ``open_state`` is called on the thread; ``connection_of`` gives the database to commit.
    """

    def __init__(
        self, name: str, open_state: Callable[[], T], connection_of: Callable[[T], sqlite3.Connection]
    ) -> None:
        self._name = name
        self._open_state = open_state
        self._connection_of = connection_of
        self._queue: queue.Queue[_Job | None] = queue.Queue(_QUEUE_MOST)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the thread and open the database; raises what opening raised."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._main, args=(opened,), name=f"books-{self._name}", daemon=True)
        self._thread.start()
        await opened

    async def run(self, work: Callable[[T], R]) -> R:
        """Run a job; its result, durable. Raises what the job raised, or ``Overloaded``."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Job(work, future))
        except queue.Full:
            raise Overloaded(self._name) from None
        return await future

    async def stop(self) -> None:
        """Finish what waits, close the database, end the thread."""
        if self._thread is not None:
            await asyncio.to_thread(self._queue.put, None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _main(self, opened: asyncio.Future[None]) -> None:
        try:
            state = self._open_state()
        except Exception as error:
            self._call(_fail, opened, error)
            return
        self._call(_settle, opened, None)
        connection = self._connection_of(state)
        running = True
        while running:
            jobs, running = self._gather()
            if jobs:
                _run_batch(connection, state, jobs)
                self._call(_deliver, jobs)
        connection.close()

    def _gather(self) -> tuple[list[_Job], bool]:
        """The job that comes next and all that wait behind it; false when the worker is to stop after them."""
        jobs: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _BATCH_MOST:
                return jobs, True
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._loop is not None:
            # A loop that is closed has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)


def _run_batch(connection: sqlite3.Connection, state: Any, jobs: list[_Job]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            _run_one(connection, state, job)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        # The commit failed (a full disk, say): nothing of the batch happened, and nobody may believe that it did.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in jobs:
            job.error = error


def _run_one(connection: sqlite3.Connection, state: Any, job: _Job) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(state)
    except Exception as error:
        connection.execute("ROLLBACK TO job")
        job.error = error
    connection.execute("RELEASE job")


def _deliver(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.error is not None:
            _fail(job.future, job.error)
        else:
            _settle(job.future, job.result)


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
