"""Stays and what may break in the middle: the service killed, a connection lost at COMMIT; each thing is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from tests.support.commit_proxy import CommitProxy, When, commit_proxy
from tests.support.database import TestDatabases
from tests.support.raw_terminal import Answer, RawTerminal, raw_terminal
from tests.support.service import HOSPITAL, RunningService, running_service
from tests.support.ward import Ward, fee, key, payers_of, ward_of


@pytest.fixture(scope="module")
async def proxied(
    database: TestDatabases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[RunningService, CommitProxy]]:
    """A service whose connections go through the proxy; the tests' own hands reach the database directly."""
    dsn = await database.create()
    async with (
        commit_proxy(dsn) as proxy,
        running_service(dsn, tmp_path_factory.mktemp("proxied"), SETTLEMENT_DATABASE_URL=proxy.dsn) as service,
    ):
        yield service, proxy


async def until_answered(ward: Ward, path: str, body: dict[str, Any]) -> Answer:
    """As a till does that hears 503 or 504: the same key asks again."""
    answer = await ward.post(path, body)
    async with asyncio.timeout(30):
        while answer.status in {503, 504}:
            await asyncio.sleep(0.1)
            answer = await ward.post(path, body)
    return answer


async def in_ward(service: RunningService, till: RawTerminal) -> Ward:
    ward = await ward_of(service, till, bank_fen=9_000_000)
    await ward.admit()
    return ward


@pytest.mark.parametrize("when", ["before", "sent", "answered"])
async def test_fees_are_there_once_whatever_becomes_of_the_commit(
    proxied: tuple[RunningService, CommitProxy], when: When
) -> None:
    service, proxy = proxied
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await in_ward(service, till)
        body = {"idempotency_key": key(), "lines": [fee(1, 500)], "total_fen": 500}
        cut = proxy.cut("upload_fees", when)
        answer = await until_answered(ward, "/fees", body)
        assert cut.reached.is_set()
        assert [batch["batch_no"] for batch in answer.body["batches"]] == [1]
        cut = proxy.cut("withdraw_fees", when)
        answer = await until_answered(ward, "/fees/1/withdrawal", {"idempotency_key": key()})
        assert cut.reached.is_set()
        assert (answer.body["open_fen"], answer.body["batches"][0]["withdrawn"]) == (0, True)
        cut = proxy.cut("cancel_stay", when)
        answer = await until_answered(ward, "/cancellation", {"idempotency_key": key()})
        assert (cut.reached.is_set(), answer.body["state"]) == (True, "cancelled")


@pytest.mark.parametrize("when", ["before", "sent", "answered"])
async def test_a_patient_is_admitted_once_whatever_becomes_of_the_commit(
    proxied: tuple[RunningService, CommitProxy], when: When
) -> None:
    service, proxy = proxied
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till)
        names, cut = {"idempotency_key": key()}, proxy.cut("admit_stay", when)
        answer = await ward.admit(**names)
        while answer.status in {503, 504}:
            answer = await ward.admit(**names)
        assert (cut.reached.is_set(), answer.body["state"]) == (True, "admitted")
    stays = await service.base.pool.fetchval("select count(*) from stay where stay_no = $1", ward.stay_no)
    assert stays == 1


@pytest.mark.parametrize("when", ["before", "sent", "answered"])
@pytest.mark.parametrize("statement", ["hold_settlements", "record_debit_answers"])
async def test_a_deposit_and_a_final_settlement_happen_once(
    proxied: tuple[RunningService, CommitProxy], statement: str, when: When
) -> None:
    service, proxy = proxied
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await in_ward(service, till)
        cut = proxy.cut(statement, when)
        deposit = await ward.deposit(30_000)
        assert (cut.reached.is_set(), deposit.body["state"]) == (True, "settled")
        await ward.upload(fee(1, 130_000))
        cut = proxy.cut(statement, when)
        final = await ward.settle("final", 130_000)
        assert (cut.reached.is_set(), final.body["state"]) == (True, "settled")
        assert payers_of(final.body["split"]) == {"pooled_fund": 9_200, "deposit": 30_000, "bank": 90_800}
        stay = await ward.view()
    assert (stay["state"], stay["deposit_left_fen"]) == ("discharged", 0)
    assert sorted(await service.live_debits(ward.image)) == [30_000, 90_800]
    assert {name: fen for (_, name), fen in (await ward.counters()).items()} == {
        "covered/inpatient": 130_000,
        "pooled_fund": 9_200,
    }


async def test_a_service_killed_while_the_bank_is_asked_finds_out_and_the_stay_follows(
    own_service: RunningService,
) -> None:
    service = own_service
    credentials = await service.enrolled(HOSPITAL)
    async with raw_terminal(service.base_url, credentials) as till:
        ward = await in_ward(service, till)
        await ward.deposit(30_000)
        await ward.upload(fee(1, 130_000))
        match = Match(mti="0200", pan=ward.image.pan)
        await service.bank.add_fault(FaultSpec(action="drop_after_commit", bank="ICBC", match=match))
        request = ward.settlement("final", 130_000, wait_ms=0)
        assert (await ward.post("/settlements", request)).status == 202
        await service.process.kill()
        await service.process.start()
        await till.sign_in()
        await service.until_final()
        again = await ward.post("/settlements", request)
        assert (again.status, again.body["state"]) == (200, "settled")
        assert ((await ward.view())["state"], (await ward.view())["deposit_left_fen"]) == ("discharged", 0)
    assert sorted(await service.live_debits(ward.image)) == [30_000, 90_800]
