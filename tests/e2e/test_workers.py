"""Several workers on one port: a worker that dies takes nothing with it, and is replaced."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import uuid
from collections.abc import AsyncIterator

import pytest

from terminal_sdk.card import VirtualCard
from tests.support.database import TestDatabases
from tests.support.raw_terminal import RawTerminal, line, raw_terminal
from tests.support.service import RunningService, running_service
from tests.support.workers import Tills, insist, till_at, until, worker_pids


@pytest.fixture(scope="module")
async def pair(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """A service of two workers for all tests here; its books are verified at the end."""
    async with running_service(await database.create(), tmp_path_factory.mktemp("pair"), workers=2) as service:
        yield service


async def metric(till: RawTerminal, name: str) -> float:
    """A metric's values, summed over its labels."""
    text = (await till.plain("GET", "/metrics")).raw.decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


async def test_a_session_holds_at_every_worker_and_a_nonce_is_used_up_at_all(pair: RunningService) -> None:
    one, other = worker_pids(pair)
    async with till_at(pair, one) as till, till_at(pair, other) as elsewhere:
        nonce = secrets.token_hex(16)
        path = f"/v1/settlements/{uuid.uuid4()}"
        first = await till.call("GET", path, nonce=nonce)
        assert (first.status, first.code) == (404, "SETTLEMENT_UNKNOWN")
        # The same terminal, session and nonce over the connection to the other worker.
        elsewhere.session_id, elsewhere.mac_key = till.session_id, till.mac_key
        again = await elsewhere.call("GET", path, nonce=nonce)
        assert (again.status, again.code) == (401, "NONCE_REPLAYED")
        assert (await elsewhere.call("GET", path)).code == "SETTLEMENT_UNKNOWN"


async def test_one_account_at_two_workers_gives_exactly_what_is_there(pair: RunningService) -> None:
    image = await pair.issue_card(current_year_fen=1_000, bank=None)
    card = VirtualCard(image)
    tills = [till_at(pair, pid) for pid in worker_pids(pair)]
    async with tills[0] as one, tills[1] as other:

        async def pay(till: RawTerminal) -> list[int]:
            requests = [till.settlement(image, card, [line(100)], pin=False) for _ in range(15)]
            answers = [await insist(till, request) for request in requests]
            return [answer.body["split"]["current_year_fen"] for answer in answers]

        paid = await asyncio.gather(pay(one), pay(other))
    assert sorted([*paid[0], *paid[1]]) == [0] * 20 + [100] * 10
    assert await pair.balances(image) == (0, 0)


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
        assert await metric(till, "settlement_bills_total") >= 6 * 8 + 2 * 15
