"""What the rest of the service sees of terminals: who sent a request, and how a terminal stands in the registry."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field

MAC_KEY_BYTES = 32
PIN_KEY_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingKeys:
    """A session's keys: for the MAC of requests and answers (HMAC-SM3), and for PIN blocks (SM4)."""

    mac_key: bytes = field(repr=False)
    pin_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalIdentity:
    """Who sent an authenticated request: terminal, its institution, and the keys of its session."""

    terminal_id: str
    institution_id: str
    institution_name: str
    institution_kind: str
    institution_level: int
    session_id: uuid.UUID
    mac_key: bytes = field(repr=False)
    pin_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRequest:
    """A request whose MAC and time are right; whether its sender may act now is still to be asked.

    ``terminal_id`` is known here if this process has admitted a request of the session before.
    """

    session_id: uuid.UUID
    nonce: str
    time_ms: int
    keys: WorkingKeys
    terminal_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalEntry:
    """A terminal as the operator sees it. ``state``: registered, enrolled or suspended."""

    terminal_id: str
    institution_id: str
    institution_name: str
    institution_kind: str
    institution_level: int
    institution_state: str
    state: str
    registered_at: dt.datetime
    enrolled_at: dt.datetime | None
    certificate_fingerprint: str | None
    certificate_not_after: dt.datetime | None
    suspended_at: dt.datetime | None
    suspend_reason: str | None
    enrolment_expires_at: dt.datetime | None
    enrolment_tries_left: int
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalEvent:
    """One entry of a terminal's history."""

    event: str
    detail: str | None
    happened_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionEntry:
    """A hospital or pharmacy as the operator sees it."""

    institution_id: str
    name: str
    kind: str
    level: int
    state: str
    suspend_reason: str | None
    terminals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentCode:
    """A one-time code, shown once: only its digest is kept. ``renewed``: the terminal was registered before."""

    terminal_id: str
    institution_id: str
    code: str = field(repr=False)
    expires_at: dt.datetime
    renewed: bool


class AdministrationError(Exception):
    """An operator's order that cannot be carried out; the message says why. Nothing was changed."""


class InvalidIdentifier(AdministrationError):
    """A terminal id, institution id, kind or level of the wrong form."""


class UnknownInstitution(AdministrationError):
    """No such institution is registered."""


class UnknownTerminal(AdministrationError):
    """No such terminal is registered."""


class BelongsElsewhere(AdministrationError):
    """The terminal belongs to another institution, and stays there."""


class InstitutionDiffers(AdministrationError):
    """The institution is registered under another name, kind or level."""
