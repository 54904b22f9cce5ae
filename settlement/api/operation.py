"""What describes an operation of version 1, and the codes of refusal that several have in common."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from settlement.api.line import Urgency

ALWAYS = ("BAD_REQUEST", "BODY_TOO_LARGE", "BODY_TOO_SLOW", "OVERLOADED", "NOT_READY", "TIMED_OUT", "INTERNAL")
WITH_BODY = ("BAD_JSON", "BAD_FIELD", "UNSUPPORTED_MEDIA_TYPE")
AUTHENTICATED = (
    "SESSION_MISSING",
    "MAC_INVALID",
    "CLOCK_SKEW",
    "SESSION_EXPIRED",
    "NONCE_REPLAYED",
    "TERMINAL_SUSPENDED",
    "INSTITUTION_SUSPENDED",
    "TERMINAL_FLOODING",
)
CARD = (
    "CARD_UNKNOWN",
    "CARD_NOT_ACTIVATED",
    "CARD_FROZEN",
    "CARD_LOST",
    "CARD_VOID",
    "CARD_EXPIRED",
    "CARD_CERTIFICATE_MISMATCH",
    "CARD_CERTIFICATE_EXPIRED",
    "CARD_CERTIFICATE_REVOKED",
)
BILL = ("LINES_DO_NOT_ADD_UP", "DUPLICATE_LINE_NO", "SERVICE_DATE_OUT_OF_RANGE", "PLAN_MISSING")
SETTLING = (
    "CARD_PROOF_INVALID",
    "CARD_PROOF_STALE",
    "CARD_COUNTER_REPLAYED",
    "PIN_BLOCK_INVALID",
    "CONSENT_MISSING",
    "IDEMPOTENCY_KEY_REUSED",
    "REVERSED_BEFORE_ARRIVAL",
    "BILL_ALREADY_SETTLED",
    "AGREEMENT_EXCEEDED",
    "QUOTE_INVALID",
    "QUOTE_EXPIRED",
    "PERSON_BUSY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter in the path or the query."""

    name: str
    place: str
    meaning: str
    schema: dict[str, object]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. ``pending``: it may answer 202. ``text``: it has a printable form. ``errors``: its own codes."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    answer: type[msgspec.Struct]
    request: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    authenticated: bool = True
    pending: bool = False
    text: bool = False
    errors: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Does it change something under an idempotency key, so that a failure half-way leaves its outcome open?"""
        return self.request is not None and "idempotency_key" in self.request.__struct_fields__

    @property
    def urgency(self) -> Urgency:
        """Who goes first in the line: taking back, then what asks only, then what begins something new."""
        if self.name.startswith("reverse"):
            return Urgency.UNDO
        return Urgency.BILL if self.request else Urgency.STATUS

    @property
    def all_errors(self) -> tuple[str, ...]:
        """Every code that the operation may answer with."""
        codes = (*self.errors, *(AUTHENTICATED if self.authenticated else ()), *ALWAYS)
        codes = (*codes, *(("OUTCOME_UNKNOWN",) if self.changes else ()))
        return (*codes, *(WITH_BODY if self.request else ("BAD_FIELD",)))


UUID: dict[str, object] = {"type": "string", "format": "uuid"}
"""The schema of an id."""
