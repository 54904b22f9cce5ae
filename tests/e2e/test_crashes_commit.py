"""A connection lost exactly at COMMIT: the outcome is not known to the caller, and comes out once all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from terminal_sdk.card import VirtualCard
from tests.support.commit_proxy import CommitProxy, When, commit_proxy
from tests.support.database import TestDatabases
from tests.support.raw_terminal import line, raw_terminal
from tests.support.service import RunningService, running_service
from tests.support.workers import insist

WHENS = ("before", "sent", "answered")


@dataclass(frozen=True, slots=True)
class Proxied:
    """A service whose connections to PostgreSQL go through a proxy."""

    service: RunningService
    proxy: CommitProxy


@pytest.fixture(scope="module")
async def proxied(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxied]:
    """One for all tests here; its books are verified at the end."""
    dsn = await database.create()
    folder = tmp_path_factory.mktemp("proxied")
    async with (
        commit_proxy(dsn) as proxy,
        running_service(dsn, folder, SETTLEMENT_DATABASE_URL=proxy.dsn, SETTLEMENT_CLAIM_LEASE_MS="2000") as service,
    ):
        yield Proxied(service, proxy)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("statement", ["hold_settlements", "record_debit_answers"])
async def test_hold_and_capture_happen_once(proxied: Proxied, statement: str, when: When) -> None:
    service = proxied.service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        cut = proxied.proxy.cut(statement, when)
        answer = await till.call("POST", "/v1/settlements", request)
        assert cut.reached.is_set()
        # The service finds out by itself: the till that asked is answered as if nothing had been.
        assert (answer.status, answer.body["state"]) == (200, "settled")
    assert await service.live_debits(image) == [700]
    assert await service.balances(image) == (0, 0)


async def test_a_bill_whose_commit_was_lost_is_never_said_to_be_nothing(proxied: Proxied) -> None:
    """The account paid in the hold's commit, whose answer is lost; then the database refuses every connection. That
    those later tries did nothing is certain; that the first one did nothing is not.
    """
    service = proxied.service
    image = await service.issue_card(current_year_fen=3_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        cut = proxied.proxy.cut("hold_settlements", "hold")
        asking = asyncio.create_task(till.call("POST", "/v1/settlements", request))
        await cut.committed.wait()
        await proxied.proxy.close()
        answer = await asking
        await proxied.proxy.open()
        assert answer.body["error"]["code"] == "OUTCOME_UNKNOWN"
        assert (await insist(till, request)).body["state"] == "settled"
    assert await service.balances(image) == (2_000, 0)


@pytest.mark.parametrize("when", WHENS)
async def test_a_reversal_is_opened_once(proxied: Proxied, when: When) -> None:
    service = proxied.service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        paid = await insist(till, till.settlement(image, VirtualCard(image), [line(1_000)]))
        cut = proxied.proxy.cut("request_undos", when)
        path = f"/v1/settlements/{paid.body['settlement_id']}/reversal"
        taken = await till.call("POST", path, {"idempotency_key": f"undo-{till.terminal_id}"})
        assert cut.reached.is_set()
        # Asked again, the database says that this reversal stands; the bank is told now or by recovery.
        assert (taken.status, taken.body["state"]) in {(200, "reversed"), (202, "reversing")}
        await service.until_final()
    assert [(item.kind, item.state) for item in await service.bank_books(image)] == [
        ("debit", "voided"),
        ("void", "done"),
    ]
    assert await service.balances(image) == (300, 0)


@pytest.mark.parametrize("when", WHENS)
async def test_what_a_bank_said_to_a_void_is_asked_again(proxied: Proxied, when: When) -> None:
    service = proxied.service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        paid = await insist(till, till.settlement(image, VirtualCard(image), [line(1_000)]))
        cut = proxied.proxy.cut("record_return_answers", when)
        path = f"/v1/settlements/{paid.body['settlement_id']}/reversal"
        await till.call("POST", path, {"idempotency_key": f"undo-{till.terminal_id}"})
        assert cut.reached.is_set()
        await service.until_final()
        status = await till.call("GET", f"/v1/settlements/{paid.body['settlement_id']}")
        assert status.body["state"] == "reversed"
    assert [(item.kind, item.state) for item in await service.bank_books(image)] == [
        ("debit", "voided"),
        ("void", "done"),
    ]
