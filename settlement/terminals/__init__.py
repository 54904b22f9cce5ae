"""Terminals: their registry, enrolment, sign-in (签到) and the authentication of their requests."""

from settlement.terminals.administration import TerminalAdministration
from settlement.terminals.model import (
    AdministrationError,
    EnrolmentCode,
    InstitutionEntry,
    TerminalEntry,
    TerminalEvent,
    TerminalIdentity,
    VerifiedRequest,
)
from settlement.terminals.registry import TerminalRegistry

__all__ = [
    "AdministrationError",
    "EnrolmentCode",
    "InstitutionEntry",
    "TerminalAdministration",
    "TerminalEntry",
    "TerminalEvent",
    "TerminalIdentity",
    "TerminalRegistry",
    "VerifiedRequest",
]
