"""Quotes without storage: an offer carries its own terms under the service's MAC, so any worker can honour it."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac

import msgspec
from msgspec import Struct

from settlement.errors import ServiceError
from terminal_sdk.crypto import hmac_sm3, sm3


class QuoteTerms(Struct, frozen=True, kw_only=True):
    """What was offered: for which bill, at most how much from the bank (fen), on which account version, until when."""

    bill: str
    bank_fen: int
    account_version: int
    expires_at: dt.datetime


def seal_quote(terms: QuoteTerms, key: bytes) -> tuple[str, str]:
    """The token that the till hands back, and its digest (SM3 hex), which the card signs."""
    payload = msgspec.json.encode(terms)
    token = base64.urlsafe_b64encode(payload).decode() + "." + hmac_sm3(key, payload).hex()
    return token, sm3(payload).hex()


def open_quote(token: str, key: bytes, *, bill: str, now: dt.datetime) -> tuple[QuoteTerms, str]:
    """The terms and digest of a token made here for this bill. Raises QUOTE_INVALID or QUOTE_EXPIRED."""
    encoded, _, mac = token.partition(".")
    try:
        payload = base64.urlsafe_b64decode(encoded.encode("ascii", "strict"))
    except (ValueError, binascii.Error):
        raise ServiceError("QUOTE_INVALID", field="quote") from None
    # Bytes on both sides: compare_digest refuses text that is not ASCII with an exception of its own.
    if not hmac.compare_digest(hmac_sm3(key, payload).hex().encode(), mac.encode("utf-8", "replace")):
        raise ServiceError("QUOTE_INVALID", field="quote")
    terms = msgspec.json.decode(payload, type=QuoteTerms)
    if terms.bill != bill:
        raise ServiceError("QUOTE_INVALID", field="quote")
    if now >= terms.expires_at:
        raise ServiceError("QUOTE_EXPIRED", field="quote")
    return terms, sm3(payload).hex()
