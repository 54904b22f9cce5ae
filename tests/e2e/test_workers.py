"""Several workers on one port: a worker that dies takes nothing with it, and is replaced."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.raw_terminal import RawTerminal, raw_terminal
from tests.support.service import RunningService, running_service
from tests.support.workers import Tills, until, worker_pids


@pytest.fixture
async def pair(make_database: Callable[..., Awaitable[str]], tmp_path: Path) -> AsyncIterator[RunningService]:
    """A service of two workers; its books are verified at the end."""
    async with running_service(await make_database(), tmp_path, workers=2) as service:
        yield service


async def metric(till: RawTerminal, name: str) -> float:
    """A metric's values, summed over its labels."""
    text = (await till.plain("GET", "/metrics")).raw.decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


async def test_a_worker_killed_under_traffic_is_replaced_and_loses_nothing(pair: RunningService) -> None:
    tills = Tills(pair)
    traffic = asyncio.create_task(tills.serve(tills=6, bills=8))
    await until(lambda: len(tills.answers) >= 6)
    before = worker_pids(pair)
    os.kill(before[0], signal.SIGKILL)
    await traffic
    await until(lambda: len(worker_pids(pair)) == 2)
    assert before[1] in worker_pids(pair)
    await tills.check(bills=6 * 8, turned_back_most=6)
    async with raw_terminal(pair.base_url, await pair.enrolled()) as till:
        await pair.until_final()
        async with asyncio.timeout(30):
            while await metric(till, "settlement_worker_up") < 2:
                await asyncio.sleep(0.1)
        assert await metric(till, "settlement_worker_starts_total") == 3
        # The dead worker's count is not lost with it: no answer that a till got is missing.
        assert await metric(till, "settlement_bills_total") >= 6 * 8
