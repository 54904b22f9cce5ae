"""The real database under virtual time: each statement runs alone and whole, at one virtual moment."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, TypeVar

import asyncpg

from settlement.cards.registry import SQL as CARD_SQL
from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.ledger import SQL as LEDGER_SQL
from settlement.simulation.loop import SimulatedLoop
from settlement.simulation.trace import FAULT, Trace

T = TypeVar("T")

NAMES = {text: name for queries in (LEDGER_SQL, CARD_SQL) for name, text in queries.items()}
WRITES = frozenset(
    {
        "hold_settlements",
        "record_debit_answers",
        "record_undoing_answers",
        "record_return_answers",
        "note_approvals",
        "decide_backward",
        "request_undos",
        "bury_key",
        "claim_due_legs",
    }
)
_LATENCY_S = (0.000_2, 0.002)
_SLOW_S = (0.5, 12.0)
_INJECTED = "a trouble of the simulated database"
_SHOWN = ("outcome", "action", "operation", "kind", "leg", "state", "saga_id", "settlement_id", "undo_id", "reference")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]{2,39}")
_FACTS = re.compile(r'"(?:outcome|cause|verb|kind|idempotency_key)":"([^"]*)"')


def in_real_time(work: Coroutine[Any, Any, T]) -> T:
    """Do real work on an event loop of its own, outside any other."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


class RealDatabase:
    """One connection to a real server, spoken to from within virtual time: a call blocks until the server has answered.

    So at most one statement is ever under way, and it takes effect at one virtual moment.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._connection: Any = None

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do real work to its end, also while the simulated loop runs in this thread."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            return self._loop.run_until_complete(work)
        finally:
            asyncio._set_running_loop(outer)

    def open(self, settings: Settings) -> None:
        """Connect."""
        self.pool = self.wait(create_pool(settings))
        self._connection = self.wait(_acquire(self.pool))

    def close(self) -> None:
        """Disconnect."""
        if self.pool is not None:
            self.pool.terminate()
            self.wait(asyncio.sleep(0))
        self._loop.close()

    def run(self, method: str, query: str, arguments: tuple[Any, ...]) -> Any:
        """One statement: ``fetch``, ``fetchrow``, ``fetchval`` or ``execute``."""
        return self.wait(getattr(self._connection, method)(query, *arguments))


async def _acquire(pool: Any) -> Any:
    return await pool.acquire()


class DatabaseWeather:
    """What befalls the statements of a run. ``away_until``: no statement gets through before this virtual time.

    ``armed``: troubles that wait for the next statement that changes something: ``lost_before`` (the connection breaks
    before it reaches the server), ``lost_after`` (after its commit), ``cancelled`` (by the statement time-out),
    ``gone_after`` (after its commit, and the server is away for a while then), ``conflict`` (chosen as a deadlock's
    victim), ``broken`` (an error that nobody foresaw), ``slow``.
    """

    KINDS = ("lost_before", "lost_after", "gone_after", "cancelled", "conflict", "broken", "slow")
    GONE_S = 4.0
    """Longer than a caller waits for it."""

    def __init__(self) -> None:
        self.away_until = 0.0
        self.armed: list[tuple[str, str | None]] = []
        self.played: dict[str, int] = {}

    def arm(self, kind: str, statement: str | None = None) -> None:
        """Let a trouble meet the next statement that changes something, or the next one of this name."""
        self.armed.append((kind, statement))

    def take(self, name: str) -> str | None:
        """The trouble that meets this statement."""
        for place, (kind, statement) in enumerate(self.armed):
            if name == statement or (statement is None and name in WRITES):
                del self.armed[place]
                self.played[kind] = self.played.get(kind, 0) + 1
                return kind
        return None


_ERRORS: dict[str, Callable[[], Exception]] = {
    "lost_before": lambda: asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    "lost_after": lambda: asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    "gone_after": lambda: asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    "cancelled": lambda: asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    "conflict": lambda: asyncpg.DeadlockDetectedError("deadlock detected"),
    "broken": lambda: asyncpg.InternalServerError("an error that nobody foresaw"),
}


class SimulatedPool:
    """The pool of one process: the calls of asyncpg's that the engine uses, each a statement in the schedule."""

    def __init__(
        self,
        name: str,
        *,
        loop: SimulatedLoop,
        database: RealDatabase,
        trace: Trace,
        weather: DatabaseWeather,
        random: Random,
    ) -> None:
        self._name = name
        self._loop = loop
        self._database = database
        self._trace = trace
        self._weather = weather
        self._random = random

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """All rows. What SQL leaves without an order is put into one, so that a run repeats."""
        rows: list[Any] = await self._statement("fetch", query, arguments)
        return rows

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        """The first row, or None."""
        return await self._statement("fetchrow", query, arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """The first value of the first row."""
        return await self._statement("fetchval", query, arguments)

    async def execute(self, query: str, *arguments: Any) -> Any:
        """No rows."""
        return await self._statement("execute", query, arguments)

    async def _statement(self, method: str, query: str, arguments: tuple[Any, ...]) -> Any:
        name = NAMES.get(query, "unnamed")
        trouble = self._weather.take(name)
        await asyncio.sleep(self._random.uniform(*(_SLOW_S if trouble == "slow" else _LATENCY_S)))
        if self._loop.time() < self._weather.away_until:
            self._trace.note(self._name, "sql", f"{name}: the database is away")
            raise _injected(ConnectionRefusedError("the database is away"))
        if trouble in {"lost_before", "cancelled", "conflict", "broken"}:
            self._trace.note(self._name, FAULT, f"{name} {_asked(arguments)}: {trouble}")
            raise _injected(_ERRORS[trouble]())
        try:
            result = self._database.run(method, query, arguments)
        except asyncpg.PostgresError as error:
            self._trace.note(self._name, "sql", f"{name} {_asked(arguments)}: {error}")
            self._loop.troubles.append(f"the database refused {name}: {type(error).__name__}: {error}")
            raise
        if name == "claim_due_legs":
            result = sorted(result, key=lambda row: (row["saga_id"], row["leg"]))
        self._trace.note(self._name, "sql", f"{name} {_asked(arguments)} -> {_told(result)}")
        await asyncio.sleep(self._random.uniform(*_LATENCY_S))
        if trouble == "gone_after":
            self._weather.away_until = self._loop.time() + self._weather.GONE_S
        if trouble in {"lost_after", "gone_after"}:
            self._trace.note(self._name, FAULT, f"{name} {_asked(arguments)}: {trouble}")
            raise _injected(_ERRORS[trouble]())
        return result


def _injected(error: Exception) -> Exception:
    error.add_note(_INJECTED)
    return error


def is_injected(error: BaseException) -> bool:
    """Whether an exception is (or was raised because of) a trouble of the weather, and not a finding."""
    notes = getattr(error, "__notes__", ())
    cause = error.__cause__ or error.__context__
    return _INJECTED in notes or (cause is not None and is_injected(cause))


def _asked(arguments: Iterable[Any]) -> str:
    """The identifiers in a statement's arguments: of texts, those that are the same in every run of a seed."""
    shown: list[str] = []
    for argument in arguments:
        if isinstance(argument, uuid.UUID):
            shown.append(str(argument))
        elif isinstance(argument, list):
            shown += [str(each) for each in argument if isinstance(each, uuid.UUID | str)]
        elif isinstance(argument, str) and argument.startswith("["):
            shown += _UUID.findall(argument) + _FACTS.findall(argument)
        elif isinstance(argument, str) and _PLAIN.fullmatch(argument):
            shown.append(argument)
    return " ".join(shown)


def _told(result: Any) -> str:
    """The outcome of a statement in short."""
    if isinstance(result, list):
        return f"{len(result)} rows " + "; ".join(_told(row) for row in result)
    if isinstance(result, asyncpg.Record):
        return ",".join(f"{name}={result[name]}" for name in _SHOWN if name in result.keys())  # noqa: SIM118 - a record iterates over its values
    return str(result) if isinstance(result, str | int | bool) else type(result).__name__
