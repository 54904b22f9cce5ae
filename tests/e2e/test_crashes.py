"""Processes that die or stand still in the middle of traffic: the service recovers, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from settlement.db.cluster import running_pid
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.placement import find_placement
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import VirtualCard
from tests.support.commit_proxy import commit_proxy
from tests.support.raw_terminal import line
from tests.support.service import RunningService, running_service
from tests.support.workers import Tills, insist, stopped, till_at, until, worker_pids

QUICK_LEASE = {"SETTLEMENT_CLAIM_LEASE_MS": "2000"}


async def until_fence(service: RunningService, fence: int) -> None:
    """Until a leg has been claimed so often: another worker has taken it over."""
    async with asyncio.timeout(30):
        while not await service.base.pool.fetchval("select exists (select from leg where fence >= $1)", fence):
            await asyncio.sleep(0.05)


async def moves(service: RunningService) -> list[tuple[str, str]]:
    """The bank leg's history: state and cause of each move."""
    rows = await service.base.pool.fetch("select to_state, cause from leg_move where leg = 'bank' order by move_no")
    return [(row["to_state"], row["cause"]) for row in rows]


async def debits_received(service: RunningService, bank: str) -> int:
    """How many 0200 the bank has received."""
    return sum(1 for row in await service.bank_log(bank) if row.mti == "0200" and row.direction == "received")


async def test_a_worker_that_stood_still_past_its_lease_changes_nothing_that_another_has_settled(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    async with running_service(await make_database(), tmp_path, workers=2, **QUICK_LEASE) as service:
        image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
        await service.bank.add_fault(
            FaultSpec(action="delay_ms", bank="ICBC", match=Match(mti="0200"), delay_ms=500, when="after_commit")
        )
        pids = worker_pids(service)
        async with till_at(service, pids[0]) as till:
            request = till.settlement(image, VirtualCard(image), [line(1_000)])
            call = asyncio.create_task(till.call("POST", "/v1/settlements", request))
            async with asyncio.timeout(20):
                while not await service.bank_books(image):
                    await asyncio.sleep(0.02)
            # The bank has booked, its answer is on its way, and the worker that waits for it stands still.
            with stopped(pids[0]):
                await service.until_final()
            first = await call
            assert (first.status, first.body["state"]) == (200, "settled")
        assert await debits_received(service, "ICBC") == 1
        assert await moves(service) == [("intended", "hold"), ("posted", "bank_approved")]
        assert await service.balances(image) == (0, 0)


@pytest.mark.parametrize(
    ("statement", "becomes"),
    [
        # It learns of its own hold when another has claimed the leg: the leg is not its to send any more.
        pytest.param("hold_settlements", "reversed", marks=pytest.mark.deep),
        # It knew that the leg was its own, and stood still before the write: it is too late to write, and it says so.
        ("l.leg = $4", "declined"),
    ],
)
async def test_a_worker_that_stood_still_before_it_sent_sends_nothing_any_more(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path, statement: str, becomes: str
) -> None:
    dsn = await make_database()
    async with (
        commit_proxy(dsn) as proxy,
        running_service(dsn, tmp_path, workers=2, SETTLEMENT_DATABASE_URL=proxy.dsn, **QUICK_LEASE) as service,
    ):
        image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
        pids = worker_pids(service)
        async with till_at(service, pids[0]) as till:
            request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=6_000)
            hold = proxy.cut(statement, "hold")
            call = asyncio.create_task(till.call("POST", "/v1/settlements", request))
            await asyncio.wait_for(hold.committed.wait(), 20)
            # The hold is durable; the one worker that may send its debit waits for the database, and stands still.
            with stopped(pids[0]):
                hold.released.set()
                await until_fence(service, 2)
            await call
            assert (await insist(till, request)).body["state"] == becomes
        assert await debits_received(service, "ICBC") == 0
        assert await service.live_debits(image) == []
        assert await service.balances(image) == (300, 0)


@pytest.fixture
async def own_server(open_tmp_path: Path) -> AsyncIterator[tuple[RunningService, Path]]:
    """A service that keeps its embedded PostgreSQL up itself, and the server's data directory."""
    data_dir = open_tmp_path / "data"
    server = EmbeddedPostgres(data_dir)
    dsn = await asyncio.to_thread(server.start)
    try:
        async with running_service(dsn, open_tmp_path, workers=2, SETTLEMENT_DATABASE_URL="", **QUICK_LEASE) as service:
            yield service, data_dir
    finally:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.remove)


async def test_postgresql_killed_under_traffic_is_brought_up_again(
    own_server: tuple[RunningService, Path],
) -> None:
    service, data_dir = own_server
    place = find_placement(data_dir)
    tills = Tills(service)
    traffic = asyncio.create_task(tills.serve(tills=4, bills=6))
    await until(lambda: len(tills.answers) >= 4)
    before = running_pid(place)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await traffic
    assert running_pid(place) not in {None, before}
    await service.until_final()
    await tills.check(bills=4 * 6, turned_back_most=2 * 4)


@pytest.mark.deep
@pytest.mark.timeout(600)
async def test_bank_host_and_workers_killed_again_and_again_under_traffic(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    async with running_service(await make_database(), tmp_path, workers=3, **QUICK_LEASE) as service:
        # Between two attempts at a bank that was away lie up to 30 s.
        tills = Tills(service, patience_s=200)
        traffic = asyncio.create_task(tills.serve(tills=6, bills=40))
        await until(lambda: len(tills.answers) >= 6)
        for number in range(8):
            if traffic.done():
                break
            if number % 2:
                await service.host.kill()
                await asyncio.sleep(0.5)
                await service.host.start()
            else:
                pids = worker_pids(service)
                os.kill(service.chance.choice(pids), signal.SIGKILL)
            await asyncio.sleep(2)
        await traffic
        await service.until_final()
        # A bank that is away declines at once; how many bills meet that is chance, what stands at the banks is not.
        await tills.check(bills=6 * 40, turned_back_most=6 * 40 - 6)
