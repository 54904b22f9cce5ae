"""Stopping and starting: what is under way is ended, what is left is found again; the database may go and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import VirtualCard
from tests.support.raw_terminal import line, raw_terminal
from tests.support.service import RunningService, running_service


@pytest.fixture
async def patient_service(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> AsyncIterator[RunningService]:
    """A service of the test's own that waits long for its banks, however busy the machine is."""
    async with running_service(await make_database(), tmp_path, bank_timeout_ms=20_000) as service:
        yield service


async def _slow_debit(service: RunningService, pan: str | None) -> None:
    await service.bank.add_fault(
        FaultSpec(action="delay_ms", bank="ICBC", match=Match(mti="0200", pan=pan), delay_ms=1_000, when="after_commit")
    )


async def _until_at_the_bank(service: RunningService) -> None:
    async with asyncio.timeout(20):
        while not any(fault.played for fault in await service.bank.faults()):
            await asyncio.sleep(0.02)


async def test_sigterm_ends_what_is_under_way_and_refuses_the_rest(patient_service: RunningService) -> None:
    service = patient_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    await _slow_debit(service, image.pan)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        call = asyncio.create_task(till.call("POST", "/v1/settlements", request))
        await _until_at_the_bank(service)
        stopped = asyncio.create_task(service.process.stop())
        answer = await call
        assert (answer.status, answer.body["state"]) == (200, "settled")
        assert await stopped == 0
    assert await service.live_debits(image) == [700]
    await service.process.start()


async def test_an_answer_that_comes_while_the_database_is_away_is_captured_when_it_is_back(
    patient_service: RunningService,
) -> None:
    service = patient_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank="SRCB")
    await service.bank.add_fault(
        FaultSpec(action="delay_ms", bank="SRCB", match=Match(mti="0200"), delay_ms=1_000, when="after_commit")
    )
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        call = asyncio.create_task(till.call("POST", "/v1/settlements", request))
        await _until_at_the_bank(service)
        async with asyncio.timeout(30):
            name = await service.base.pool.fetchval("select current_database()")
            # Every connection of the service is cut, again and again, while the bank's answer comes in.
            for _ in range(30):
                await service.base.pool.execute(
                    """select pg_terminate_backend(pid) from pg_stat_activity
                       where datname = $1 and pid <> pg_backend_pid() and backend_type = 'client backend'""",
                    name,
                )
                await asyncio.sleep(0.1)
        await call
        await service.until_final()
        state = await till.call("GET", f"/v1/settlements?idempotency_key={request['idempotency_key']}")
    assert state.body["state"] == "settled"
    assert await service.live_debits(image) == [700]


async def test_a_restarted_service_answers_for_what_it_did_before(own_service: RunningService) -> None:
    service = own_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    credentials = await service.enrolled()
    async with raw_terminal(service.base_url, credentials) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        first = await till.call("POST", "/v1/settlements", request)
        await service.process.stop()
        await service.process.start()
        again = await till.call("POST", "/v1/settlements", request)
    assert (first.status, again.status) == (200, 200)
    assert again.raw == first.raw
