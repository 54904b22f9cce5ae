"""A card is refused by the code of its own cause, in the documented order; its bank never decides over insurance."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from settlement.cards.checks import bank_notice, check_usable
from settlement.cards.model import CardContext
from settlement.errors import CATALOGUE, ServiceError
from terminal_sdk.wire import CardRef

LONG_AGO = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
# In the documented order: each cause with what makes it hold.
CAUSES: list[tuple[str, dict[str, Any]]] = [
    ("CARD_VOID", {"life": "void"}),
    ("CARD_LOST", {"life": "lost"}),
    ("CARD_EXPIRED", {"expires_on": dt.date(2019, 6, 2)}),
    ("CARD_NOT_ACTIVATED", {"social": "inactive"}),
    ("CARD_FROZEN", {"social": "frozen"}),
    ("CARD_CERTIFICATE_MISMATCH", {"certificate_fingerprint": "0" * 64}),
    ("CARD_CERTIFICATE_EXPIRED", {"certificate_not_after": LONG_AGO}),
    ("CARD_CERTIFICATE_REVOKED", {"certificate_revoked_at": LONG_AGO}),
]


def refusal(context: CardContext, ref: CardRef, now: dt.datetime) -> str:
    with pytest.raises(ServiceError) as refused:
        check_usable(context, ref, now)
    return refused.value.code


@pytest.fixture
def ref(third: CardContext) -> CardRef:
    return CardRef(card_number="A12345678", certificate_fingerprint=third.certificate_fingerprint)


def test_a_card_in_use_is_usable(third: CardContext, ref: CardRef, now: dt.datetime) -> None:
    check_usable(third, ref, now)


def test_a_legacy_card_in_use_is_usable(legacy: CardContext, now: dt.datetime) -> None:
    check_usable(legacy, CardRef(card_number="B87654321"), now)


@pytest.mark.parametrize(("code", "change"), CAUSES, ids=[code for code, _ in CAUSES])
def test_each_cause_has_its_own_code(
    code: str, change: dict[str, Any], third: CardContext, ref: CardRef, now: dt.datetime
) -> None:
    assert refusal(dataclasses.replace(third, **change), ref, now) == code


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_of_several_causes_the_first_of_the_order_counts(
    first: int, third: CardContext, ref: CardRef, now: dt.datetime
) -> None:
    changes: dict[str, Any] = {}
    for _, change in reversed(CAUSES[first:]):
        changes |= change
    assert refusal(dataclasses.replace(third, **changes), ref, now) == CAUSES[first][0]


def test_a_card_expires_at_midnight_in_china(third: CardContext, ref: CardRef) -> None:
    context = dataclasses.replace(third, expires_on=dt.date(2019, 6, 3))
    check_usable(context, ref, dt.datetime(2019, 6, 3, 15, 59, 59, tzinfo=dt.UTC))
    assert refusal(context, ref, dt.datetime(2019, 6, 3, 16, 0, tzinfo=dt.UTC)) == "CARD_EXPIRED"


def test_a_certificate_holds_until_its_last_second(third: CardContext, ref: CardRef, now: dt.datetime) -> None:
    check_usable(dataclasses.replace(third, certificate_not_after=now), ref, now)
    late = now + dt.timedelta(seconds=1)
    assert refusal(dataclasses.replace(third, certificate_not_after=now), ref, late) == "CARD_CERTIFICATE_EXPIRED"


@pytest.mark.parametrize("fingerprint", [None, "f" * 64])
def test_a_third_generation_card_names_its_own_certificate(
    fingerprint: str | None, third: CardContext, now: dt.datetime
) -> None:
    ref = CardRef(card_number="A12345678", certificate_fingerprint=fingerprint)
    assert refusal(third, ref, now) == "CARD_CERTIFICATE_MISMATCH"


def test_a_legacy_card_names_no_certificate(legacy: CardContext, now: dt.datetime) -> None:
    ref = CardRef(card_number="B87654321", certificate_fingerprint="f" * 64)
    assert refusal(legacy, ref, now) == "CARD_CERTIFICATE_MISMATCH"


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        ({}, None),
        ({"financial": "inactive"}, "FINANCIAL_NOT_ACTIVE"),
        ({"financial": "frozen"}, "FINANCIAL_FROZEN"),
        ({"bank_code": None, "pan_sealed": None, "financial": "inactive"}, "NO_BANK_ACCOUNT"),
    ],
)
def test_the_bank_is_left_out_for_its_own_cause_and_insurance_goes_on(
    change: dict[str, Any], notice: str | None, third: CardContext, ref: CardRef, now: dt.datetime
) -> None:
    context = dataclasses.replace(third, **change)
    assert bank_notice(context) == notice
    assert notice is None or notice in CATALOGUE
    check_usable(context, ref, now)


def test_a_legacy_card_has_no_bank(legacy: CardContext) -> None:
    assert bank_notice(legacy) == "NO_BANK_ACCOUNT"


def test_a_context_shows_no_secret(third: CardContext) -> None:
    assert third.public_key is not None
    assert "sealed" not in repr(third)
    assert repr(third.public_key) not in repr(third)
