"""Cards to test with: a certification authority, a third-generation and a legacy card, and raw APDUs in hex."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.crypto import CertificateAuthority

Send = Callable[[VirtualCard, str], str]

MASTER_KEY = bytes(range(16))
PERSON: dict[str, Any] = {"social_security_number": "310101195003074512", "name": "张建国"}
DATES: dict[str, Any] = {"issued_on": dt.date(2018, 12, 20), "expires_on": dt.date(2028, 12, 19)}


@pytest.fixture(scope="session")
def card_ca() -> CertificateAuthority:
    begin = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    return CertificateAuthority.create_root("Test card CA", begin, begin + dt.timedelta(days=9000))


@pytest.fixture(scope="session")
def third_image(card_ca: CertificateAuthority) -> CardImage:
    return CardImage.personalise(
        card_ca, card_number="A12345678", bank_code="ICBC", pan="6222020200112233445", **DATES, **PERSON
    )


@pytest.fixture(scope="session")
def master_key() -> bytes:
    return MASTER_KEY


@pytest.fixture(scope="session")
def legacy_image() -> CardImage:
    return CardImage.legacy(MASTER_KEY, card_number="B87654321", **DATES, **PERSON)


@pytest.fixture
def third(third_image: CardImage) -> VirtualCard:
    card = VirtualCard(third_image)
    card.reset("contact")
    return card


@pytest.fixture
def contactless(third_image: CardImage) -> VirtualCard:
    card = VirtualCard(third_image)
    card.reset("contactless")
    return card


@pytest.fixture
def legacy(legacy_image: CardImage) -> VirtualCard:
    card = VirtualCard(legacy_image)
    card.reset("contact")
    return card


@pytest.fixture(scope="session")
def send() -> Send:
    """Send one command in hex; the response in upper-case hex."""

    def exchange(card: VirtualCard, command: str) -> str:
        return card.transmit(bytes.fromhex(command)).hex().upper()

    return exchange
