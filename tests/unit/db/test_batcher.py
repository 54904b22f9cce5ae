"""What a batch does when the database refuses it or is away: together or each alone, how long, and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from settlement.db import batcher as module
from settlement.db.batcher import Batcher
from settlement.db.errors import DatabaseRefused
from settlement.db.outages import REFUSALS
from settlement.errors import ServiceError


class Runs:
    """A ``run`` that fails as it is told, then answers. ``batches``: what it was called with."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.spoilt: dict[int, Exception] = {}
        self.batches: list[list[int]] = []

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        if self.failures:
            raise self.failures.pop(0)
        for item in items:
            if item in self.spoilt:
                raise self.spoilt[item]
        return [item * 10 for item in items]


async def all_of(batcher: Batcher[int, int], *items: int) -> list[int | BaseException]:
    return await asyncio.gather(*(batcher.submit(item) for item in items), return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(module.asyncio, "sleep", lambda _: sleep(0))


async def test_an_outage_is_the_same_for_all_so_they_are_tried_again_together() -> None:
    runs = Runs(ConnectionResetError(), asyncpg.ReadOnlySQLTransactionError("x"))
    assert await all_of(Batcher(runs), 1, 2, 3) == [10, 20, 30]
    assert runs.batches == [[1, 2, 3]] * 3


async def test_a_conflict_is_tried_again_one_by_one() -> None:
    runs = Runs(asyncpg.DeadlockDetectedError("x"))
    assert await all_of(Batcher(runs), 1, 2) == [10, 20]
    assert runs.batches == [[1, 2], [1], [2]]


async def test_refusals_alone_mean_that_nothing_was_done() -> None:
    runs = Runs(*[asyncpg.DiskFullError("x")] * 3)
    refused = await all_of(Batcher(runs, attempts=3), 1, 2)
    assert [type(error) for error in refused] == [DatabaseRefused] * 2
    assert str(refused[0]) == "the database's disk is full"


async def test_after_a_connection_that_broke_nobody_knows_whatever_comes_then() -> None:
    runs = Runs(ConnectionResetError(), asyncpg.DiskFullError("x"), asyncpg.DiskFullError("x"))
    (unknown,) = await all_of(Batcher(runs, attempts=3), 1)
    assert isinstance(unknown, ConnectionResetError)
    assert not isinstance(unknown, REFUSALS)


async def test_the_doubt_stays_with_each_item_when_they_are_tried_alone() -> None:
    runs = Runs(ConnectionResetError(), asyncpg.DeadlockDetectedError("x"), *[asyncpg.DiskFullError("x")] * 4)
    unknown = await all_of(Batcher(runs, attempts=2), 1, 2)
    assert [type(error) for error in unknown] == [ConnectionResetError] * 2
    assert runs.batches == [[1, 2], [1, 2], [1], [1], [2], [2]]


async def test_one_that_waits_for_a_lock_is_refused_alone() -> None:
    runs = Runs()
    runs.spoilt[2] = asyncpg.LockNotAvailableError("x")
    first, second, third = await all_of(Batcher(runs, attempts=2), 1, 2, 3)
    assert (first, third) == (10, 30)
    assert isinstance(second, DatabaseRefused)


async def test_what_takes_too_long_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_AFTER_S", -1.0)
    runs = Runs(asyncpg.QueryCanceledError("x"))
    (refused,) = await all_of(Batcher(runs), 1)
    assert isinstance(refused, DatabaseRefused)
    assert runs.batches == [[1]]


async def test_a_conflict_that_stays_is_told_as_it_is() -> None:
    runs = Runs()
    runs.spoilt[1] = asyncpg.UniqueViolationError("x")
    (error,) = await all_of(Batcher(runs, attempts=2), 1)
    assert isinstance(error, asyncpg.UniqueViolationError)


async def test_a_mistake_is_told_to_the_one_whose_it_is_and_not_tried_again() -> None:
    runs = Runs()
    runs.spoilt[2] = ValueError("x")
    first, second = await all_of(Batcher(runs), 1, 2)
    assert (first, type(second)) == (10, ValueError)
    assert runs.batches == [[1, 2], [1], [2]]


async def test_a_full_queue_refuses() -> None:
    refused = await all_of(Batcher(Runs(), queue_max=2), 1, 2, 3)
    assert refused[:2] == [10, 20]
    assert isinstance(refused[2], ServiceError)
    assert refused[2].code == "OVERLOADED"


async def test_what_comes_while_all_lanes_end_is_not_left_waiting() -> None:
    """Both lanes end in one turn of the loop; whoever was just served asks for more before anything else runs."""
    gate = asyncio.Event()

    async def run(items: Sequence[int]) -> list[int]:
        if 3 not in items:
            await gate.wait()
        return list(items)

    batcher: Batcher[int, int] = Batcher(run, batch_max=1, lanes=2)

    async def one_more() -> int:
        await batcher.submit(1)
        return await batcher.submit(3)

    asking = asyncio.gather(one_more(), batcher.submit(2))
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert asking.done(), "the last one waits for somebody else to come"
    assert asking.result() == [3, 2]
