"""Recovery's places: a bank whose answers take long has its share of them, and the other banks' legs are carried on."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace

from settlement.engine.background import Background
from settlement.engine.context import EngineLimits
from settlement.engine.recovery import Recovery
from settlement.ledger.records import BankLeg
from tests.support.ledger_world import NOW, LedgerWorld, line

LATER = NOW + dt.timedelta(minutes=1)
LEASE = LATER + dt.timedelta(seconds=20)


async def test_a_bank_with_enough_under_way_is_left_out(world: LedgerWorld) -> None:
    slow = await world.hold(await world.person(0), line(300))
    quick = await world.hold(await world.person(0), line(300), bank_code="ABC")
    claimed = await world.ledger.claim_due_legs(LATER, "one", LEASE, 10, ["ICBC"])
    assert [leg.key for leg in claimed] == [quick]
    assert [leg.key for leg in await world.ledger.claim_due_legs(LATER, "one", LEASE, 10)] == [slow]


class SlowBank:
    """Carries legs on as ``BankLegs`` does, as far as recovery can tell; ICBC answers when it is let."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.waiting = 0
        self.done: list[str] = []

    async def act(self, leg: BankLeg, _: float) -> None:
        if leg.bank_code == "ICBC":
            self.waiting += 1
            await self.answers.wait()
            self.waiting -= 1
        self.done.append(leg.bank_code)


async def test_a_slow_bank_does_not_take_all_of_recoverys_places(world: LedgerWorld) -> None:
    for _ in range(20):
        await world.hold(await world.person(0), line(300))
    for _ in range(3):
        await world.hold(await world.person(0), line(300), bank_code="ABC", lease_until=NOW + dt.timedelta(seconds=30))
    bank = SlowBank()
    context = SimpleNamespace(
        ledger=world.ledger,
        bank_legs=bank,
        clock=SimpleNamespace(now=lambda: LATER, monotonic=lambda: 0.0),
        limits=EngineLimits(recovery_batch=8, recovery_per_bank=3),
        worker="one",
        lease_until=lambda _: LEASE,
        send_before=lambda: 0.0,
    )
    background = Background(100)
    recovery = Recovery(context, background)  # type: ignore[arg-type]

    await recovery.sweep()
    await asyncio.sleep(0)
    assert bank.waiting == 3  # though twenty of its legs are due, and were due before the others'
    assert bank.done == ["ABC"] * 3
    await recovery.sweep()
    await asyncio.sleep(0)
    assert bank.waiting == 3
    bank.answers.set()
    await background.drain(5)
    while await recovery.sweep():
        await background.drain(5)
    assert bank.done.count("ICBC") == 20
