"""A quote is honoured only as it was made: by us, for this bill, in time."""

from __future__ import annotations

import base64
import datetime as dt

import pytest

from settlement.engine.quotes import QuoteTerms, open_quote, seal_quote
from settlement.errors import ServiceError

KEY = bytes(32)
NOW = dt.datetime(2026, 3, 2, 8, tzinfo=dt.UTC)
TERMS = QuoteTerms(bill="b" * 64, bank_fen=500, account_version=3, expires_at=NOW + dt.timedelta(minutes=5))


def code_of(token: str, *, bill: str = TERMS.bill, now: dt.datetime = NOW, key: bytes = KEY) -> str:
    with pytest.raises(ServiceError) as refused:
        open_quote(token, key, bill=bill, now=now)
    return refused.value.code


def test_a_quote_comes_back_as_it_was_made() -> None:
    token, digest = seal_quote(TERMS, KEY)
    assert open_quote(token, KEY, bill=TERMS.bill, now=NOW) == (TERMS, digest)


def test_another_bill_another_key_and_a_late_hour_are_refused() -> None:
    token, _ = seal_quote(TERMS, KEY)
    assert code_of(token, bill="c" * 64) == "QUOTE_INVALID"
    assert code_of(token, key=b"x" * 32) == "QUOTE_INVALID"
    assert code_of(token, now=TERMS.expires_at) == "QUOTE_EXPIRED"


def test_raised_terms_are_refused() -> None:
    token, _ = seal_quote(TERMS, KEY)
    payload, mac = token.split(".")
    raised = base64.urlsafe_b64encode(base64.urlsafe_b64decode(payload).replace(b"500", b"900")).decode()
    assert code_of(f"{raised}.{mac}") == "QUOTE_INVALID"


@pytest.mark.parametrize("token", ["", ".", "x", "é.é", "a.b.c", "AAAA." + "0" * 64, "\u0000", "=" * 100])
def test_garbage_is_refused(token: str) -> None:
    assert code_of(token) == "QUOTE_INVALID"
