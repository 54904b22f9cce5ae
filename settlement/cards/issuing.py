"""Virtual cards for trials, demonstrations and tests: made, registered and, if wished, activated in one call."""

from __future__ import annotations

import datetime as dt
import secrets
import string

from settlement.cards import numbers
from settlement.cards.errors import CardNotRegistrable
from settlement.cards.model import Function, Kind
from settlement.cards.registry import CardRegistry, legacy_master_key
from settlement.security import KeyRing
from terminal_sdk.card.image import DEFAULT_PIN, CardImage, PersonFields
from terminal_sdk.crypto import CertificateAuthority, Sm2PrivateKey

VALID_YEARS = 10
_CARD_NUMBER_ALPHABET = string.ascii_uppercase + string.digits
_CARD_NUMBER_LENGTH = 9
_PAN_RANDOM_DIGITS = 16
_UNIONPAY = "62"


async def issue_virtual(
    registry: CardRegistry,
    card_ca: CertificateAuthority,
    keys: KeyRing,
    *,
    name: str,
    id_number: str,
    kind: Kind = "third_generation",
    bank_code: str | None = None,
    pan: str | None = None,
    card_number: str | None = None,
    key: Sm2PrivateKey | None = None,
    pin: str = DEFAULT_PIN,
    issued_on: dt.date | None = None,
    expires_on: dt.date | None = None,
    activate: Function | None = None,
) -> CardImage:
    """Make a card, register its person (if new) and the card, and activate the function named by ``activate``.

    Card number, account number (``pan``) and key are made up unless given; a third-generation card needs a
    ``bank_code``, a legacy card takes none. Issued today (China) for ten years unless given. What cannot be a card is
    refused before anything is registered: ``NumberInvalid``, ``CardNotRegistrable``, ``CardImageInvalid``. Raises
    what registration and activation raise, too; a card that could not be activated stays registered.
    """
    holder: PersonFields = {
        "name": numbers.name(name),
        "social_security_number": numbers.id_number(id_number),
        "pin": pin,
    }
    number = made_up_card_number() if card_number is None else numbers.card_number(card_number)
    issued_on = issued_on or registry.today()
    expires_on = expires_on or _years_later(issued_on, VALID_YEARS)
    if kind == "third_generation":
        image = _third_generation(card_ca, number, key, issued_on, expires_on, bank_code, pan, holder)
    elif bank_code is None and pan is None and key is None:
        image = CardImage.legacy(
            legacy_master_key(keys), card_number=number, issued_on=issued_on, expires_on=expires_on, **holder
        )
    else:
        raise CardNotRegistrable("bank", "a legacy card has neither a bank account nor a key")
    await _register(registry, image)
    if activate is not None:
        await (registry.activate_social if activate == "social" else registry.activate_financial)(number)
    return image


def made_up_card_number() -> str:
    """A random card number: nine characters, A-Z and 0-9."""
    return "".join(secrets.choice(_CARD_NUMBER_ALPHABET) for _ in range(_CARD_NUMBER_LENGTH))


def made_up_pan() -> str:
    """A random account number of 19 digits that begins with 62 and ends with its check digit."""
    digits = _UNIONPAY + "".join(secrets.choice(string.digits) for _ in range(_PAN_RANDOM_DIGITS))
    return digits + numbers.luhn_check_digit(digits)


def _third_generation(
    card_ca: CertificateAuthority,
    card_number: str,
    key: Sm2PrivateKey | None,
    issued_on: dt.date,
    expires_on: dt.date,
    bank_code: str | None,
    pan: str | None,
    holder: PersonFields,
) -> CardImage:
    if bank_code is None:
        raise CardNotRegistrable("bank", "a third-generation card is issued with one of the banks")
    return CardImage.personalise(
        card_ca,
        card_number=card_number,
        bank_code=numbers.bank_code(bank_code),
        pan=made_up_pan() if pan is None else numbers.pan(pan),
        key=key,
        issued_on=issued_on,
        expires_on=expires_on,
        **holder,
    )


async def _register(registry: CardRegistry, image: CardImage) -> None:
    person_id = await registry.register_person(image.name, image.social_security_number)
    if image.kind == "legacy":
        await registry.register_legacy(
            person_id, card_number=image.card_number, issued_on=image.issued_on, expires_on=image.expires_on
        )
        return
    await registry.register_third_generation(
        person_id,
        card_number=image.card_number,
        certificate=image.certificate(),
        issued_on=image.issued_on,
        expires_on=image.expires_on,
        bank_code=image.bank_code,
        pan=image.pan,
    )


def _years_later(day: dt.date, years: int) -> dt.date:
    """The same day so many years later; 29 February becomes the 28th where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)
