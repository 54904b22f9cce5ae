"""A card in use, a legacy one, and their contexts as the registry would load them."""

from __future__ import annotations

import datetime as dt

import pytest

from settlement.cards.model import CardContext
from terminal_sdk.card import CardImage
from terminal_sdk.crypto import CertificateAuthority

NOW = dt.datetime(2019, 6, 3, 2, 0, tzinfo=dt.UTC)
DATES = {"issued_on": dt.date(2018, 12, 20), "expires_on": dt.date(2028, 12, 19)}
MASTER_KEY = bytes(range(16))


@pytest.fixture(scope="session")
def now() -> dt.datetime:
    return NOW


@pytest.fixture(scope="session")
def master_key() -> bytes:
    return MASTER_KEY


@pytest.fixture(scope="session")
def third_image() -> CardImage:
    begin = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    authority = CertificateAuthority.create_root("Card CA", begin, begin + dt.timedelta(days=9000))
    return CardImage.personalise(
        authority,
        card_number="A12345678",
        bank_code="ICBC",
        pan="6222020200112233445",
        name="张建国",
        social_security_number="310101195003074512",
        issued_on=DATES["issued_on"],
        expires_on=DATES["expires_on"],
    )


@pytest.fixture(scope="session")
def legacy_image() -> CardImage:
    return CardImage.legacy(
        MASTER_KEY,
        card_number="B87654321",
        name="张建国",
        social_security_number="310101195003074512",
        issued_on=DATES["issued_on"],
        expires_on=DATES["expires_on"],
    )


@pytest.fixture(scope="session")
def third(third_image: CardImage) -> CardContext:
    """A third-generation card with both functions active."""
    certificate = third_image.certificate()
    return CardContext(
        person_id=1,
        card_id=1,
        kind="third_generation",
        life="issued",
        social="active",
        financial="active",
        expires_on=third_image.expires_on,
        certificate_fingerprint=certificate.fingerprint,
        certificate_not_after=certificate.not_after,
        certificate_revoked_at=None,
        public_key=certificate.public_key.to_bytes(),
        bank_code="ICBC",
        pan_sealed=b"sealed",
        last_counter=0,
        account_version=0,
        current_year_available_fen=0,
        carried_over_available_fen=0,
    )


@pytest.fixture(scope="session")
def legacy(legacy_image: CardImage) -> CardContext:
    """A legacy card in use."""
    return CardContext(
        person_id=1,
        card_id=2,
        kind="legacy",
        life="issued",
        social="active",
        financial="inactive",
        expires_on=legacy_image.expires_on,
        certificate_fingerprint=None,
        certificate_not_after=None,
        certificate_revoked_at=None,
        public_key=None,
        bank_code=None,
        pan_sealed=None,
        last_counter=0,
        account_version=0,
        current_year_available_fen=0,
        carried_over_available_fen=0,
    )
