"""The floor on which a run takes place: which arrival is next, when it is due, and what has been seen so far."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gevent
from gevent.event import Event

from loadtest.bridge import Bridge
from loadtest.plan import Arrival, Plan
from loadtest.population import Patient
from loadtest.prepared import PreparedCard
from loadtest.tills import Till
from loadtest.visits import Visit
from terminal_sdk.wire import CardProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What was made ready for a plan: tills by terminal id, patients as planned, the proofs signed ahead by arrival."""

    tills: Mapping[str, Till]
    patients: Sequence[Patient]
    proofs: Mapping[int, CardProof]


class Floor:
    """Shared by all users of a run; used from the greenlets' thread, but for ``stop`` and the figures.

    The run begins at ``start_ms`` (epoch); until then the users stand and wait. ``visits``: the bills, as they began.
    """

    def __init__(
        self, plan: Plan, equipment: Equipment, loop: asyncio.AbstractEventLoop, start_ms: int, service_date: dt.date
    ) -> None:
        self.plan = plan
        self.equipment = equipment
        self.service_date = service_date
        self.visits: list[Visit] = []
        self.ended = 0
        self.stopped = False
        self.start_ms = start_ms
        self._loop = loop
        self._monotonic_start = time.monotonic() + start_ms / 1_000 - time.time()
        self._queues: dict[str, deque[Arrival]] = {kind.name: deque() for kind in plan.kinds}
        for arrival in plan.arrivals:
            self._queues[arrival.kind].append(arrival)
        self._card_free: dict[int, Event] = {}

    def open(self) -> None:
        """Called once in the greenlets' thread, before they begin."""
        self.bridge = Bridge(self._loop)
        self._card_free = {arrival.after: Event() for arrival in self.plan.arrivals if arrival.after is not None}

    def close(self) -> None:
        """Called in the same thread when no greenlet is left."""
        self.bridge.close()

    def stop(self) -> None:
        """Let nobody come any more; bills under way are ended."""
        self.stopped = True

    @property
    def now_ms(self) -> float:
        """Milliseconds since the beginning of the run."""
        return (time.monotonic() - self._monotonic_start) * 1_000

    @property
    def finished(self) -> bool:
        """Whether every arrival has come to its end, or none may come any more and none is under way."""
        return self.ended == (len(self.visits) if self.stopped else len(self.plan.arrivals))

    def take(self, kind: str) -> Arrival | None:
        """The next arrival of a kind; None when there is none any more."""
        queue = self._queues[kind]
        return queue.popleft() if queue and not self.stopped else None

    def wait_for(self, arrival: Arrival) -> float | None:
        """Sleep until an arrival is due, and its card is out of every other reader; when that was. None: stopped."""
        while (left_ms := arrival.at_ms - self.now_ms) > 0:
            if self.stopped:
                return None
            gevent.sleep(min(left_ms / 1_000, 1.0))
        if arrival.after is None or self._card_free[arrival.after].is_set():
            return float(arrival.at_ms)
        self._card_free[arrival.after].wait()
        return self.now_ms

    def enter(self, arrival: Arrival, due_ms: float) -> Visit:
        """The arrival's bill begins now."""
        key = f"{arrival.visit_no}-{arrival.terminal_id}"
        visit = Visit(arrival=arrival, due_ms=due_ms, started_ms=self.now_ms, key=key)
        self.visits.append(visit)
        return visit

    def leave(self, visit: Visit) -> None:
        """The bill has come to its end; the card is free."""
        self.ended += 1
        if (free := self._card_free.get(visit.arrival.number)) is not None:
            free.set()

    def card(self, arrival: Arrival) -> PreparedCard:
        """The patient's card, laid into the reader for this bill."""
        order = arrival.order(self.equipment.patients[arrival.patient], self.start_ms)
        return PreparedCard(order, self.equipment.proofs.get(arrival.number))
