"""What must be true of a bill before anything else is looked at, and the digests by which it is known."""

from __future__ import annotations

import datetime as dt

import msgspec

from settlement.errors import ServiceError
from terminal_sdk.crypto import sm3
from terminal_sdk.wire import (
    DepositRequest,
    QuoteRequest,
    RefundRequest,
    ReversalByKeyRequest,
    ReversalRequest,
    SettlementRequest,
    StaySettlementRequest,
)

SERVICE_DATE_DAYS_BACK = 366


def check_bill(request: QuoteRequest | SettlementRequest, today: dt.date) -> None:
    """Refuse a bill whose lines do not add up, repeat a number, or whose service date is out of range."""
    if sum(line.amount_fen for line in request.lines) != request.total_fen:
        raise ServiceError("LINES_DO_NOT_ADD_UP", field="total_fen")
    if len({line.line_no for line in request.lines}) != len(request.lines):
        raise ServiceError("DUPLICATE_LINE_NO", field="lines")
    if not today - dt.timedelta(days=SERVICE_DATE_DAYS_BACK) <= request.service_date <= today:
        raise ServiceError("SERVICE_DATE_OUT_OF_RANGE", field="service_date")


def check_consent(request: SettlementRequest) -> None:
    """Exactly one of quote and ceiling says what the patient agreed to."""
    if (request.quote is None) == (request.bank_ceiling_fen is None):
        raise ServiceError("CONSENT_MISSING", field="quote")


def bill_digest(institution_id: str, request: QuoteRequest | SettlementRequest) -> str:
    """SM3 (hex) over what a quote is made of: institution, visit, card, lines, who takes the remainder, consent."""
    facts: list[object] = [
        institution_id,
        request.visit_no,
        request.visit_type,
        request.service_date,
        request.card,
        request.lines,
        request.total_fen,
        request.remainder,
    ]
    if request.consent is not None:
        facts.append(request.consent)
    return sm3(msgspec.json.encode(facts)).hex()


def request_digest(
    request: SettlementRequest
    | StaySettlementRequest
    | DepositRequest
    | ReversalRequest
    | ReversalByKeyRequest
    | RefundRequest,
) -> bytes:
    """SM3 by which a repeated key is compared with its first body.

    Without what legitimately differs when a till asks again under the same key after a new card presence or a new
    sign-in: the card's proof, the PIN block (under the session's key) and the waiting time.
    """
    facts = msgspec.to_builtins(request)
    for volatile in ("proof", "pin_block", "wait_ms"):
        facts.pop(volatile, None)
    if facts.get("consent") is None:  # bodies from before there was this field keep their digest
        facts.pop("consent", None)
    return sm3(msgspec.json.encode(facts, order="sorted"))
