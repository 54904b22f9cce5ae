"""Carrying out the schedule: each blow at its moment, each ended at its own, and a record of all that happened."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiohttp

from chaos.keeper import Keeper
from chaos.link import Fault
from chaos.schedule import ALL_BANKS, Blow
from chaos.site import Site
from settlement.db import EmbeddedError
from settlement.stubs.bankhost.client import AdminError
from settlement.stubs.bankhost.wire import Action, FaultSpec, Match

_DELAYS_MS = 4_000
"""A bank's delay: longer than the time-out, so that the answer comes too late."""
_DEBIT = "0200"
_DEBIT_CODE = "000000"
_DECLINE = "96"
_RESTARTS = 10
_POLL_S = 0.1
_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. ``at_ms``: after the run began; ``kind``: that of a blow, or ``process``."""

    at_ms: int
    kind: str
    target: str
    what: str


class Record:
    """All events, in the order in which they happened. ``begin`` sets the zero of their times."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._zero = time.monotonic()

    def begin(self, in_ms: float) -> None:
        """The run begins in so many ms."""
        self._zero = time.monotonic() + in_ms / 1_000

    def note(self, kind: str, target: str, what: str) -> None:
        """Something happened now."""
        now_ms = round((time.monotonic() - self._zero) * 1_000)
        self.events.append(Event(at_ms=now_ms, kind=kind, target=target, what=what))

    def tell(self, process: str, what: str) -> None:
        """For ``Keeper``."""
        self.note("process", process, what)


class Attack:
    """One schedule against one site. ``struck``: how many blows have, by kind and, where there is one, fault.

    ``settled`` says how many bills tills know as settled so far · ``whole_at`` (monotonic): when, after the last blow,
    no fault was left.
    """

    def __init__(self, site: Site, record: Record, settled: Callable[[], int], patience_s: float) -> None:
        self.struck: Counter[str] = Counter()
        self.record = record
        self.whole_at = 0.0
        self._site = site
        self._settled = settled
        self._patience_s = patience_s
        self._settled_before = 0

    async def run(self, schedule: Sequence[Blow], zero_in_ms: float, last_ms: float) -> None:
        """Strike every blow at its moment after the zero, which is ``zero_in_ms`` from now; then make all whole again.

        From one blow to the next some bill must be settled, else the schedule stands still, for ``patience_s`` at most:
        a blow at what lies on the ground shows nothing. What would then come after ``last_ms`` is left out. Returns
        when every process is at work and no fault is left. Raises ``TimeoutError`` when that does not happen.
        """
        self.record.begin(zero_in_ms)
        zero = time.monotonic() + zero_in_ms / 1_000
        end = zero + last_ms / 1_000
        async with asyncio.TaskGroup() as blows:
            for blow in schedule:
                await asyncio.sleep(max(0.0, zero + blow.at_ms / 1_000 - time.monotonic()))
                zero += await self._until_somebody_is_served(end)
                if time.monotonic() >= end:
                    break
                blows.create_task(self._strike(blow), name=f"{blow.kind} {blow.target}")
        for link in self._site.links.values():
            await link.mend()
        await self._site.all_up()
        for bank, admin in self._site.stand.banks.items():
            await admin.clear_faults(bank)
        self.whole_at = time.monotonic()
        self.record.note("end", "all", "no fault is left")

    async def _until_somebody_is_served(self, end: float) -> float:
        """Wait until a bill was settled since the last blow, or long enough, or the end; how long it took, in s."""
        began = time.monotonic()
        until = min(end, began + self._patience_s)
        while time.monotonic() < until:
            if self._settled() > self._settled_before:
                break
            await asyncio.sleep(_POLL_S)
        self._settled_before = self._settled()
        return time.monotonic() - began

    async def _strike(self, blow: Blow) -> None:
        match blow.kind:
            case "kill_service":
                self._noted(blow, "killed", self._site.services[int(blow.target)].kill(blow.for_ms))
            case "kill_worker":
                keeper, place = self._worker(blow)
                self._noted(blow, "killed", keeper.kill_worker(place))
            case "kill_bank":
                self._noted(blow, "killed", self._site.hosts[int(blow.target)].kill(blow.for_ms))
            case "kill_database":
                await self._kill_database(blow)
            case "pause_worker":
                await self._pause(blow)
            case "link":
                await self._disturb(blow)
            case "bank_fault":
                await self._misbehave(blow)

    def _noted(self, blow: Blow, what: str, struck: bool) -> None:
        """Only what struck counts; something that is on its way up cannot be killed once more."""
        if struck:
            self.struck[f"{blow.kind} {blow.how}".strip()] += 1
        self.record.note(blow.kind, blow.target, what if struck else "was not there")

    async def _kill_database(self, blow: Blow) -> None:
        self._noted(blow, "killed", await asyncio.to_thread(self._site.database.kill))
        await asyncio.sleep(blow.for_ms / 1_000)
        for attempt in range(_RESTARTS):
            try:
                await asyncio.to_thread(self._site.database.start)
                break
            except EmbeddedError:
                if attempt == _RESTARTS - 1:
                    raise
        self.record.note(blow.kind, blow.target, "is back")

    async def _pause(self, blow: Blow) -> None:
        keeper, place = self._worker(blow)
        pid = keeper.pause_worker(place)
        self._noted(blow, f"paused for {blow.for_ms} ms", pid is not None)
        if pid is None:
            return
        await asyncio.sleep(blow.for_ms / 1_000)
        keeper.go_on(pid)
        self.record.note(blow.kind, blow.target, "continued")

    def _worker(self, blow: Blow) -> tuple[Keeper, int]:
        service, _, place = blow.target.partition(".")
        return self._site.services[int(service)], int(place)

    async def _disturb(self, blow: Blow) -> None:
        names = self._site.targets.banks if blow.target == ALL_BANKS else [blow.target]
        links = [self._site.links[name] for name in names]
        await asyncio.gather(*(link.fail(cast("Fault", blow.how)) for link in links))
        self._noted(blow, blow.how, struck=True)
        await asyncio.sleep(blow.for_ms / 1_000)
        await asyncio.gather(*(link.mend() for link in links))
        if blow.how != "cut":
            self.record.note(blow.kind, blow.target, "mended")

    async def _misbehave(self, blow: Blow) -> None:
        admin = self._site.stand.banks[blow.target]
        try:
            await admin.add_fault(fault_spec(blow))
        except (aiohttp.ClientError, AdminError, TimeoutError):
            self._noted(blow, blow.how, struck=False)
            return
        self._noted(blow, blow.how, struck=True)
        await asyncio.sleep(blow.for_ms / 1_000)
        with contextlib.suppress(aiohttp.ClientError, AdminError, TimeoutError):  # it forgot them when it was killed
            await admin.clear_faults(blow.target)
            self.record.note(blow.kind, blow.target, "behaves")


def fault_spec(blow: Blow) -> FaultSpec:
    """The fault of a bank as its admin takes it: every second message, until it is cleared."""
    more: dict[str, Any] = {}
    if blow.how == "answer_code":
        # Debits only: a bank that refuses to give back is asked again after ten minutes, which no run waits for.
        more = {"code": _DECLINE, "match": Match(mti=_DEBIT, processing_code=_DEBIT_CODE)}
    elif blow.how == "delay_ms":
        more = {"delay_ms": _DELAYS_MS}
    return FaultSpec(action=cast("Action", blow.how), bank=blow.target, count=None, probability=_PROBABILITY, **more)
