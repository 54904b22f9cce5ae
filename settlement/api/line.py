"""The line before the work: few places, undo and status before new bills, terminals in turn, and nobody waits long."""

from __future__ import annotations

import asyncio
import enum
import functools
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from settlement.errors import ServiceError

RETRY_AFTER_MS = 1_000


class Urgency(enum.IntEnum):
    """Who goes first when there is not room for all: taking back, then questions for what was begun, then new bills."""

    UNDO = 0
    STATUS = 1
    BILL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits:
    """``places``: requests worked on at once · ``places_reserved``: of those, not for bills ·
    ``places_per_terminal``: of those, for one terminal · ``waiting_max``: in line, of each urgency.

    A request waits ``patience_s`` at most; a bill only ``standing_s`` while bills have been waiting without a break
    for longer than ``patience_s`` (a standing line: waiting serves nobody); undo and status ``urgent_patience_s``.
    """

    places: int = 64
    places_reserved: int = 8
    places_per_terminal: int = 8
    waiting_max: int = 256
    patience_s: float = 1.0
    standing_s: float = 0.1
    urgent_patience_s: float = 3.0


@dataclass(slots=True, eq=False)
class _Waiter:
    terminal: str
    since: float
    turn: asyncio.Future[None] = field(repr=False)
    timer: asyncio.TimerHandle | None = None


class _Queue:
    """Those of one urgency, terminals in turn. ``standing_since``: since when it has not been empty."""

    def __init__(self) -> None:
        self.terminals: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self.size = 0
        self.standing_since: float | None = None

    def add(self, waiter: _Waiter) -> None:
        self.terminals.setdefault(waiter.terminal, deque()).append(waiter)
        self.size += 1
        if self.standing_since is None:
            self.standing_since = waiter.since

    def remove(self, waiter: _Waiter) -> None:
        waiting = self.terminals.get(waiter.terminal, deque())
        if waiter not in waiting:
            return
        waiting.remove(waiter)
        if not waiting:
            del self.terminals[waiter.terminal]
        self._smaller()

    def take(self, may: Callable[[str], bool]) -> _Waiter | None:
        """The first of the terminal whose turn it is; None where none of them may."""
        for terminal, waiting in self.terminals.items():
            if may(terminal):
                waiter = waiting.popleft()
                if waiting:
                    self.terminals.move_to_end(terminal)
                else:
                    del self.terminals[terminal]
                self._smaller()
                return waiter
        return None

    def _smaller(self) -> None:
        self.size -= 1
        if not self.size:
            self.standing_since = None


class Line:
    """Lets requests through to the work. ``now``: monotonic seconds."""

    def __init__(self, limits: LineLimits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._queues = {urgency: _Queue() for urgency in Urgency}
        self._working: Counter[Urgency] = Counter()
        self._by_terminal: Counter[str] = Counter()

    @property
    def working(self) -> int:
        """How many are at work."""
        return self._working.total()

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return sum(queue.size for queue in self._queues.values())

    @property
    def standing(self) -> bool:
        """Bills have been waiting without a break for longer than patience allows: more come than can be served."""
        since = self._queues[Urgency.BILL].standing_since
        return since is not None and self._now() - since > self.limits.patience_s

    async def enter(self, urgency: Urgency, terminal: str) -> None:
        """Wait for a place, which ``leave`` gives back. Raises OVERLOADED, or TERMINAL_FLOODING where this terminal
        alone has too much under way; then nothing was begun.
        """
        queue = self._queues[urgency]
        if self._may(urgency, terminal) and terminal not in queue.terminals:
            self._take(urgency, terminal)
            return
        if queue.size >= self.limits.waiting_max:
            raise self._refusal(urgency, terminal)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(terminal, self._now(), loop.create_future())
        queue.add(waiter)
        waiter.timer = loop.call_later(self._patience_s(urgency), self._give_up, urgency, waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._forget(urgency, waiter)
            raise
        finally:
            waiter.timer.cancel()

    def leave(self, urgency: Urgency, terminal: str) -> None:
        """Give a place back; the next in line gets it."""
        self._working[urgency] -= 1
        self._by_terminal[terminal] -= 1
        if not self._by_terminal[terminal]:
            del self._by_terminal[terminal]
        self._call_next()

    def _call_next(self) -> None:
        for urgency, queue in self._queues.items():
            while (waiter := queue.take(functools.partial(self._may, urgency))) is not None:
                if not waiter.turn.done():  # or else whoever waited is just being cancelled
                    self._take(urgency, waiter.terminal)
                    waiter.turn.set_result(None)

    def _may(self, urgency: Urgency, terminal: str) -> bool:
        limits = self.limits
        if self.working >= limits.places or self._by_terminal[terminal] >= limits.places_per_terminal:
            return False
        return urgency is not Urgency.BILL or self._working[urgency] < limits.places - limits.places_reserved

    def _take(self, urgency: Urgency, terminal: str) -> None:
        self._working[urgency] += 1
        self._by_terminal[terminal] += 1

    def _patience_s(self, urgency: Urgency) -> float:
        if urgency is not Urgency.BILL:
            return self.limits.urgent_patience_s
        return self.limits.standing_s if self.standing else self.limits.patience_s

    def _give_up(self, urgency: Urgency, waiter: _Waiter) -> None:
        if not waiter.turn.done():
            self._queues[urgency].remove(waiter)
            waiter.turn.set_exception(self._refusal(urgency, waiter.terminal))

    def _forget(self, urgency: Urgency, waiter: _Waiter) -> None:
        """Whoever waited is gone: out of the line, or out of the place that came at the same moment."""
        if waiter.turn.cancelled():
            self._queues[urgency].remove(waiter)
        elif waiter.turn.exception() is None:
            self.leave(urgency, waiter.terminal)

    def _refusal(self, urgency: Urgency, terminal: str) -> ServiceError:
        alone = self._by_terminal[terminal] >= self.limits.places_per_terminal and not self._full(urgency)
        return ServiceError("TERMINAL_FLOODING" if alone else "OVERLOADED", retry_after_ms=RETRY_AFTER_MS)

    def _full(self, urgency: Urgency) -> bool:
        limits = self.limits
        bills_full = self._working[Urgency.BILL] >= limits.places - limits.places_reserved
        return self.working >= limits.places or (urgency is Urgency.BILL and bills_full)
