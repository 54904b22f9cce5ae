"""The operator's list of cases in doubt, over a bank that says nothing and one that refuses to give back."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import VirtualCard
from tests.support.raw_terminal import line, raw_terminal
from tests.support.service import RunningService, running_service
from tests.support.workers import insist


@pytest.fixture
async def quick_alarm(make_database: Callable[..., Awaitable[str]], tmp_path: Path) -> AsyncIterator[RunningService]:
    """A service of two workers that takes a case of a second for old."""
    async with running_service(
        await make_database(), tmp_path, workers=2, SETTLEMENT_IN_DOUBT_ALARM_S="1", SETTLEMENT_CLAIM_LEASE_MS="1000"
    ) as service:
        yield service


async def listed(service: RunningService, *options: str) -> tuple[int | None, str]:
    """Exit status and output of the command."""
    environment = {
        **os.environ,
        "SETTLEMENT_DATABASE_URL": str(service.base.settings.database_url),
        "SETTLEMENT_DATA_DIR": str(service.base.settings.data_dir),
        "SETTLEMENT_BANK_DIRECTORY": str(service.folder / "banks.toml"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "settlement", "in-doubt", *options),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_cases_are_listed_told_once_and_gone_when_they_end(quick_alarm: RunningService) -> None:
    service = quick_alarm
    assert await listed(service) == (0, "0 cases in doubt; 0 older than 5 min\n")
    silent = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank="SRCB")
    refusing = await service.issue_card(bank_fen=9_000, bank="ICBC")
    await service.bank.add_fault(
        FaultSpec(action="drop_after_commit", bank="SRCB", match=Match(pan=silent.pan), count=1_000)
    )
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        paid = await insist(till, till.settlement(refusing, VirtualCard(refusing), [line(1_000)]))
        void = Match(mti="0200", processing_code="200000", pan=refusing.pan)
        await service.bank.add_fault(
            FaultSpec(action="answer_code", bank="ICBC", match=void, code="05", when="before_commit", count=1_000)
        )
        path = f"/v1/settlements/{paid.body['settlement_id']}/reversal"
        taken = await till.call("POST", path, {"idempotency_key": f"undo-{till.terminal_id}"})
        assert (taken.status, taken.body["state"]) == (202, "reversing")
        open_bill = till.settlement(silent, VirtualCard(silent), [line(1_500)], wait_ms=0, deadline_ms=2_000)
        pending = await till.call("POST", "/v1/settlements", open_bill)
        await until_undoing(service)

        status, text = await listed(service)
        assert status == 0  # the limit is five minutes here
        assert f"settlement {pending.body['settlement_id']}\n" in text
        assert re.search(rf"  where +\S+  {till.terminal_id}  SRCB  12\.00 yuan", text)
        assert re.search(r"  stands +debit undoing, decision backward \(deadline\)", text)
        assert "the reversal (0400) is repeated until the bank acknowledges it" in text
        assert re.search(
            r"  stands +void refused, decision forward \(bank_approved\), last bank_refused, code 05", text
        )
        assert f"reversal {taken.body['reversal_id']} of {paid.body['settlement_id']}\n" in text
        assert re.search(r"call the bank: it refused with code 05; reference \d{12} \(field 37\)", text)
        assert text.endswith("2 cases in doubt (ICBC 1, SRCB 1), 22.00 yuan; 0 older than 5 min\n")
        assert silent.pan not in text
        assert silent.card_number not in text

        status, text = await listed(service, "--older-than", "1s", "--bank", "ICBC", "--json")
        found = json.loads(text)
        assert (status, found["count"], found["old"], found["amount_fen"]) == (2, 1, 1, 1_000)
        assert (found["cases"][0]["state"], found["cases"][0]["bank_code"]) == ("refused", "ICBC")
        assert (await listed(service, "--older-than", "1d"))[0] == 0
        assert (await listed(service, "--older-than", "soon"))[0] == 2

        await until_told(service, 2)
        # Both workers have looked since, and looked again: each case was told by one of them, once.
        assert await service.base.pool.fetchval("select count(*) from case_alarm") == 2
        assert old_cases_in_log(service) == {taken.body["reversal_id"]: 1, pending.body["settlement_id"]: 1}
        await service.bank.clear_faults()
        # What was refused would be asked again in ten minutes; the test does not wait so long.
        await service.base.pool.execute(
            "update leg set next_attempt_at = now() where next_attempt_at is not null and state = 'refused'"
        )
        await service.until_final()
    assert await listed(service) == (0, "0 cases in doubt; 0 older than 5 min\n")


async def until_undoing(service: RunningService) -> None:
    async with asyncio.timeout(30):
        while not await service.base.pool.fetchval("select exists (select from leg where state = 'undoing')"):
            await asyncio.sleep(0.05)


async def until_told(service: RunningService, cases: int) -> None:
    async with asyncio.timeout(40):
        while sum(old_cases_in_log(service).values()) < cases:
            await asyncio.sleep(0.1)


def old_cases_in_log(service: RunningService) -> dict[str, int]:
    """How often each case was told as old, by its id."""
    told: dict[str, int] = {}
    for row in (service.folder / "service.log").read_text(encoding="utf-8").splitlines():
        if '"case_in_doubt_is_old"' in row:
            saga_id = json.loads(row)["saga_id"]
            told[saga_id] = told.get(saga_id, 0) + 1
    return told
