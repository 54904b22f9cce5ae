"""What goes wrong: each fault a function that does it now, or sets it up for the next message or statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

from settlement.banks.iso.spec import DEBIT_CODE, RETURN_CODE, Mti
from settlement.simulation.database import DatabaseWeather
from settlement.simulation.loop import OUTSIDE
from settlement.simulation.trace import FAULT
from settlement.stubs.bankhost.wire import Action, FaultSpec, Match

if TYPE_CHECKING:
    from settlement.simulation.world import World

Fault = Callable[["World", Random], str | None]
"""Does something; says what, or None where there was nothing to do it to, or where it is counted when it is played."""

DEBIT = Match(mti=str(Mti.FINANCIAL), processing_code=DEBIT_CODE)
VOID = Match(mti=str(Mti.FINANCIAL), processing_code=RETURN_CODE)
REFUND = Match(mti=str(Mti.REFUND))
REVERSAL = Match(mti=str(Mti.REVERSAL))
INQUIRY = Match(mti=str(Mti.INQUIRY))

_MESSAGES: dict[str, tuple[int, Match]] = {
    "debit": (8, DEBIT),
    "void": (3, VOID),
    "refund": (2, REFUND),
    "reversal": (3, REVERSAL),
    "inquiry": (2, INQUIRY),
    "any": (2, Match()),
}
"""What a bank gets wrong, by weight."""

_ACTIONS: dict[str, tuple[int, Action]] = {
    "overtaken": (6, "delay_ms"),
    "answered late": (3, "delay_ms"),
    "request lost": (3, "drop_before_commit"),
    "answer lost": (4, "drop_after_commit"),
    "answered twice": (2, "duplicate"),
    "garbage": (1, "garbage"),
    "hung up on": (2, "close"),
    "wrong MAC": (1, "wrong_mac"),
    "wrong amount": (1, "wrong_amount"),
    "wrong identity": (1, "wrong_identity"),
    "another code": (3, "answer_code"),
    "half a frame": (1, "half_frame"),
    "trickle": (1, "trickle"),
}
"""How, by weight: ``overtaken`` waits before it is booked, so that later messages come first."""

_ODD_CODES = ("05", "12", "13", "25", "51", "68", "91", "94", "96", "98", "A0")
"""Codes that a bank may answer with for reasons of its own, without having booked anything."""

_BINDING = {"25": frozenset({"reversal", "any"}), "13": frozenset({"void", "any"})}
"""*I never had it, and will refuse it if it comes* on a reversal, *too late, I have not voided it* on a void: these are
the bank's final word. A false one, said of what the bank has booked, is not a fault to recover from but a break, which
the comparison of the books names. True ones come from the bank's own rules, and its cut-over is in the menu."""


def crash_worker(world: World, random: Random) -> str | None:
    """A service process dies at one of its next awaits, wherever that is."""
    worker = random.choice(world.workers)
    if not worker.process.alive or worker.process.kill_at is not None:
        return None
    worker.process.kill_at = worker.process.steps + random.choice((1, random.randrange(1, 120)))
    return f"{worker.process.name} dies soon"


def pause_worker(world: World, random: Random) -> str | None:
    """A service process stands still, perhaps past its leases, and goes on as if nothing had been."""
    worker = random.choice(world.workers)
    if not worker.process.alive or worker.process.paused:
        return None
    seconds = random.choice((3.0, 12.0, 25.0, 45.0))
    worker.process.pause(seconds)
    return f"{worker.process.name} stands still for {seconds} s"


def clock_jump(world: World, random: Random) -> str | None:
    """A machine's clock is set: forward or back, by up to some forty seconds."""
    worker = random.choice(world.workers)
    worker.clock.offset_s = random.uniform(-40.0, 40.0)
    return f"the clock of {worker.process.name} is off by {worker.clock.offset_s:.3f} s"


def crash_bank(world: World, random: Random) -> str | None:
    """A bank host dies and comes back after a while, its books as they were."""
    bank = random.choice(world.banks)
    if not bank.process.alive:
        return None
    bank.process.kill()
    seconds = random.uniform(0.5, 15.0)
    world.loop.call_later(seconds, world.restart_bank, bank, context=OUTSIDE)
    return f"{bank.code} dies, for {seconds:.1f} s"


def misbehave(world: World, random: Random) -> str | None:
    """A bank gets one of its next messages wrong; counted when it does."""
    bank = world.bank_of(random.choice(world.cards))
    what = _drawn(random, _MESSAGES)
    how = _drawn(random, _ACTIONS)
    action = _ACTIONS[how][1]
    delay_ms = random.choice((random.randrange(100, 5_000), random.randrange(8_500, 60_000)))
    code = random.choice(_ODD_CODES) if action == "answer_code" else None
    if code is not None and what in _BINDING.get(code, ()):
        code = "96"
    bank.faults.add(
        FaultSpec(
            action=action,
            match=_MESSAGES[what][1],
            count=random.choice((1, 1, 2, 3)),
            delay_ms=delay_ms if action == "delay_ms" else 0,
            when="before_commit" if how == "overtaken" else "after_commit" if how == "answered late" else None,
            code=code,
        )
    )
    world.trace.note(bank.code, "plan", f"{what}: {how}")
    return None


def _drawn(random: Random, table: Mapping[str, tuple[int, object]]) -> str:
    return random.choices(list(table), [weight for weight, _ in table.values()])[0]


def cut(world: World, random: Random) -> str | None:
    """A connection breaks; what is on its way is lost, but for half a piece."""
    wires = world.network.open_wires()
    if not wires:
        return None
    wire = random.choice(wires)
    wire.cut()
    return f"{wire.name} breaks"


def stall(world: World, random: Random) -> str | None:
    """Nothing arrives over a connection for a while."""
    wires = world.network.open_wires()
    if not wires:
        return None
    wire, seconds = random.choice(wires), random.uniform(0.5, 15.0)
    wire.stall(seconds)
    return f"{wire.name} stands still for {seconds:.1f} s"


def unreachable(world: World, random: Random) -> str | None:
    """A bank cannot be reached: its connections break, and new ones get no answer."""
    bank, seconds = random.choice(world.banks), random.uniform(2.0, 20.0)
    if bank.port in world.network.unreachable:
        return None
    world.network.unreachable.add(bank.port)
    for wire in world.network.open_wires(bank.code):
        wire.cut()
    world.loop.call_later(seconds, world.network.unreachable.discard, bank.port, context=OUTSIDE)
    return f"{bank.code} cannot be reached for {seconds:.1f} s"


def statement(world: World, random: Random) -> str | None:
    """A database trouble waits for the next statement that changes something; counted when it meets one."""
    name = random.choice((None, None, "hold_settlements", "record_debit_answers", "record_return_answers"))
    world.weather.arm(random.choice(DatabaseWeather.KINDS), name)
    return None


def database_away(world: World, random: Random) -> str | None:
    """The database cannot be reached for a while."""
    seconds = random.uniform(0.2, 8.0)
    world.weather.away_until = world.loop.time() + seconds
    return f"the database is away for {seconds:.1f} s"


def early_cut_over(world: World, random: Random) -> str | None:
    """A bank ends its business day by hand: debits of a moment ago can be voided no more, only refunded."""
    bank = random.choice(world.banks)
    if bank.code in world.closed_early:
        return None
    world.closed_early.add(bank.code)
    bank.cut_over()
    return f"{bank.code} ends its day"


MENU: dict[Fault, int] = {
    crash_worker: 6,
    pause_worker: 3,
    clock_jump: 2,
    crash_bank: 3,
    misbehave: 22,
    cut: 4,
    stall: 2,
    unreachable: 2,
    statement: 9,
    database_away: 2,
    early_cut_over: 1,
}
"""What may happen, by weight."""


def strike(world: World, random: Random) -> None:
    """One fault of the menu, chosen by chance."""
    fault = random.choices(list(MENU), list(MENU.values()))[0]
    told = fault(world, random)
    if told is not None:
        world.counts[f"fault {fault.__name__}"] += 1
        world.trace.note("", FAULT, told)
