"""While one bank misbehaves, bills elsewhere settle; afterwards its own bills become final and the books agree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.database import TestDatabases
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import RunningService, running_service

BAD, GOOD = "ICBC", "ABC"
DEADLINE_MS = 1_500


@dataclass(frozen=True)
class Way:
    """One way to misbehave, for as long as the fault is set, and what may become of a bill whose debit meets it."""

    action: str
    becomes: frozenset[str]
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def in_doubt(self) -> bool:
        """Whether bills stay open for as long as the fault is set."""
        return "reversed" in self.becomes

    def spec(self) -> FaultSpec:
        more = dict(self.more)
        match = Match(**{name: more.pop(name) for name in ("mti", "network_code") if name in more})
        return FaultSpec(action=self.action, bank=BAD, match=match, count=None, **more)  # type: ignore[arg-type]


SETTLED, DECLINED, REVERSED = (frozenset({state}) for state in ("settled", "declined", "reversed"))
TORN = REVERSED | DECLINED
"""Where a connection is lost, a bill that was not sent yet is declined."""

WAYS = [
    Way("flood", TORN),
    Way("accept_silent", DECLINED),
]
MORE_WAYS = [
    Way("wrong_amount", REVERSED),
    Way("stall_reading", REVERSED),
    Way("drop_before_commit", REVERSED),
    Way("drop_after_commit", REVERSED),
    Way("delay_ms", REVERSED | SETTLED, (("delay_ms", 2_500),)),
    Way("duplicate", SETTLED, (("frames", 5_000),)),
    Way("unsolicited", SETTLED, (("frames", 200),)),
    Way("out_of_order", SETTLED, (("delay_ms", 200),)),
    Way("wrong_identity", REVERSED),
    Way("wrong_mti", REVERSED),
    Way("wrong_mac", REVERSED),
    Way("wrong_currency", REVERSED),
    Way("garbage", TORN),
    Way("huge_length", TORN),
    Way("half_frame", TORN),
    Way("trickle", TORN, (("delay_ms", 1_000),)),
    Way("close", TORN),
    Way("accept_close", DECLINED),
    Way("answer_code", DECLINED, (("code", "05"), ("mti", "0800"), ("network_code", "001"))),
]


@pytest.fixture(scope="module")
async def town(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """A running service for these tests; its books are verified at the end."""
    async with running_service(await database.create(), tmp_path_factory.mktemp("town")) as town:
        yield town


async def pay(town: RunningService, image: CardImage, **changes: Any) -> tuple[RawTerminal, Answer]:
    """One bill of 1000 fen on this card, at a till of its own."""
    async with raw_terminal(town.base_url, await town.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=DEADLINE_MS, **changes)
        return till, await till.call("POST", "/v1/settlements", request)


async def recovered(town: RunningService) -> None:
    """Until a bill at the bad bank settles again: the circuit closes by itself."""
    async with asyncio.timeout(60):
        while True:
            image = await town.issue_card(bank_fen=1_000, bank=BAD)
            _, answer = await pay(town, image)
            if answer.body["state"] == "settled":
                return
            await asyncio.sleep(0.2)


async def state_of(town: RunningService, answer: Answer) -> str:
    """What the ledger says of a settlement."""
    return str(
        await town.base.pool.fetchval(
            "select state from settlement_status where settlement_id = $1", answer.body["settlement_id"]
        )
    )


async def play(town: RunningService, way: Way) -> None:
    ours = [await town.issue_card(current_year_fen=300, bank_fen=9_000, bank=BAD) for _ in range(3)]
    theirs = await town.issue_card(current_year_fen=300, bank_fen=9_000, bank=GOOD)
    insured = await town.issue_card(current_year_fen=5_000, bank=None)
    await town.bank.add_fault(way.spec())
    if way.action.startswith("accept") or way.more[-1:] == (("network_code", "001"),):
        await town.bank.hang_up(BAD)

    bad = asyncio.gather(*(pay(town, image, wait_ms=1_000) for image in ours))
    for image in (theirs, insured):
        _, answer = await pay(town, image)
        assert (answer.status, answer.body["state"]) == (200, "settled")
    answers = [answer for _, answer in await bad]
    if way.in_doubt:
        async with asyncio.timeout(40):
            while "pending" in [await state_of(town, answer) for answer in answers]:
                await asyncio.sleep(0.05)
    await town.bank.clear_faults(BAD)

    await town.until_final(timeout_s=60)
    for image, answer in zip(ours, answers, strict=True):
        state = await state_of(town, answer)
        assert state in way.becomes
        assert await town.live_debits(image) == ([700] if state == "settled" else [])
        assert await town.balances(image) == ((0, 0) if state == "settled" else (300, 0))
    proof = await town.prove()
    assert list(proof.lines())[-1] == "0 violations", list(proof.lines())
    await recovered(town)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.action)
async def test_one_banks_misbehaviour_is_its_own(town: RunningService, way: Way) -> None:
    await play(town, way)


@pytest.mark.deep
@pytest.mark.parametrize("way", MORE_WAYS, ids=lambda way: way.action)
async def test_one_banks_misbehaviour_is_its_own_in_every_way(town: RunningService, way: Way) -> None:
    await play(town, way)
