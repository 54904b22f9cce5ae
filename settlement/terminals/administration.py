"""What an operator does with terminals: register, hand out codes, suspend, resume, look."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from settlement.clock import Clock
from settlement.db.queries import load_queries
from settlement.ids import IdSource
from settlement.security import KeyRing
from settlement.terminals.derivation import TerminalSecrets
from settlement.terminals.model import (
    AdministrationError,
    BelongsElsewhere,
    EnrolmentCode,
    InstitutionDiffers,
    InstitutionEntry,
    InvalidIdentifier,
    TerminalEntry,
    TerminalEvent,
    UnknownInstitution,
    UnknownTerminal,
)

if TYPE_CHECKING:
    from asyncpg import Pool, Record

SQL = load_queries("settlement.terminals", "sql/terminals.sql")
CODE_LIFETIME = dt.timedelta(hours=72)
CODE_TRIES = 10
KINDS = ("hospital", "pharmacy")
LEVELS = (1, 2, 3)

_TERMINAL_ID = re.compile(r"[A-Z0-9]{8}")
_INSTITUTION_ID = re.compile(r"[A-Z0-9]{12}")
_REASON_MAX = 200
_NAME_MAX = 200


class TerminalAdministration:
    """The registry of institutions and terminals. Every refusal is an ``AdministrationError`` and changed nothing."""

    def __init__(self, pool: Pool[Record], keys: KeyRing, clock: Clock, ids: IdSource) -> None:
        self._pool = pool
        self._clock = clock
        self._ids = ids
        self._secrets = TerminalSecrets(keys, ids.token)

    async def add_institution(self, institution_id: str, name: str, kind: str, level: int) -> bool:
        """Register a hospital or pharmacy; False: it was registered before, with the same particulars.

        ``institution_id``: the national code, 12 characters. ``kind``: hospital or pharmacy. ``level``: 1 to 3.
        Raises ``InvalidIdentifier``, ``InstitutionDiffers``.
        """
        _check_institution_id(institution_id)
        name = name.strip()
        if not name or len(name) > _NAME_MAX or not name.isprintable():
            raise InvalidIdentifier(f"an institution's name has 1 to {_NAME_MAX} printable characters")
        if kind not in KINDS or level not in LEVELS:
            raise InvalidIdentifier(f"kind is one of {', '.join(KINDS)}; level is 1, 2 or 3")
        answer = await self._pool.fetchval(SQL["add_institution"], institution_id, name, kind, level, self._clock.now())
        if answer == "differs":
            raise InstitutionDiffers(f"institution {institution_id} is registered under another name, kind or level")
        return bool(answer == "added")

    async def register(self, terminal_id: str, institution_id: str) -> EnrolmentCode:
        """Register a terminal and make its one-time enrolment code; for a known terminal, a new code.

        An older code ends. A terminal that is enrolled already goes on working until the new code is used.
        Raises ``InvalidIdentifier``, ``UnknownInstitution``, ``BelongsElsewhere``.
        """
        _check_terminal_id(terminal_id)
        _check_institution_id(institution_id)
        code = self._secrets.new_enrolment_code()
        now = self._clock.now()
        answer = await self._pool.fetchval(
            SQL["issue_enrolment_code"],
            terminal_id,
            institution_id,
            self._secrets.enrolment_digest(terminal_id, code),
            now + CODE_LIFETIME,
            CODE_TRIES,
            now,
        )
        if answer == "no_institution":
            raise UnknownInstitution(f"institution {institution_id} is not registered; add it first")
        if answer == "other_institution":
            raise BelongsElsewhere(f"terminal {terminal_id} belongs to another institution")
        return EnrolmentCode(
            terminal_id=terminal_id,
            institution_id=institution_id,
            code=code,
            expires_at=now + CODE_LIFETIME,
            renewed=answer == "renewed",
        )

    async def suspend(self, terminal_id: str, reason: str) -> bool:
        """Stop a terminal: its very next request is refused. False: it was suspended before. ``UnknownTerminal``."""
        return await self._changed_terminal(
            terminal_id, SQL["suspend_terminal"], _checked_reason(reason), self._clock.now()
        )

    async def resume(self, terminal_id: str) -> bool:
        """Let a suspended terminal sign in again. False: it was not suspended. Raises ``UnknownTerminal``."""
        return await self._changed_terminal(terminal_id, SQL["resume_terminal"], self._clock.now())

    async def suspend_institution(self, institution_id: str, reason: str) -> bool:
        """Stop all terminals of an institution at once. False: it was suspended before. ``UnknownInstitution``."""
        return await self._changed_institution(institution_id, True, _checked_reason(reason))

    async def resume_institution(self, institution_id: str) -> bool:
        """Admit an institution's terminals again. False: it was not suspended. Raises ``UnknownInstitution``."""
        return await self._changed_institution(institution_id, False, None)

    async def terminals(self, institution_id: str | None = None) -> list[TerminalEntry]:
        """All terminals, or those of one institution."""
        return await self._entries(institution_id, None)

    async def show(self, terminal_id: str) -> tuple[TerminalEntry, tuple[TerminalEvent, ...]]:
        """One terminal and its history, oldest first. Raises ``UnknownTerminal``."""
        entries = await self._entries(None, terminal_id)
        if not entries:
            raise UnknownTerminal(f"terminal {terminal_id} is not registered")
        rows = await self._pool.fetch(SQL["terminal_events"], terminal_id)
        return entries[0], tuple(TerminalEvent(**dict(row)) for row in rows)

    async def institutions(self) -> tuple[InstitutionEntry, ...]:
        """All institutions, in the order of their ids."""
        return tuple(InstitutionEntry(**dict(row)) for row in await self._pool.fetch(SQL["list_institutions"]))

    async def _entries(self, institution_id: str | None, terminal_id: str | None) -> list[TerminalEntry]:
        rows = await self._pool.fetch(SQL["list_terminals"], institution_id, terminal_id, self._clock.now())
        return [TerminalEntry(**dict(row)) for row in rows]

    async def _changed_terminal(self, terminal_id: str, statement: str, *parameters: object) -> bool:
        answer = await self._pool.fetchval(statement, terminal_id, *parameters)
        if answer == "unknown":
            raise UnknownTerminal(f"terminal {terminal_id} is not registered")
        return bool(answer != "unchanged")

    async def _changed_institution(self, institution_id: str, suspended: bool, reason: str | None) -> bool:
        answer = await self._pool.fetchval(
            SQL["set_institution_suspended"], institution_id, suspended, reason, self._clock.now()
        )
        if answer == "unknown":
            raise UnknownInstitution(f"institution {institution_id} is not registered")
        return bool(answer != "unchanged")


def _check_terminal_id(terminal_id: str) -> None:
    if not _TERMINAL_ID.fullmatch(terminal_id):
        raise InvalidIdentifier("a terminal id has eight characters of A–Z and 0–9")


def _check_institution_id(institution_id: str) -> None:
    if not _INSTITUTION_ID.fullmatch(institution_id):
        raise InvalidIdentifier("an institution id has twelve characters of A–Z and 0–9")


def _checked_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > _REASON_MAX or not reason.isprintable():
        raise AdministrationError(f"give a reason of 1 to {_REASON_MAX} printable characters")
    return reason
