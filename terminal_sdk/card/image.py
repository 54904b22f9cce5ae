"""Everything a virtual card is personalised with, as one JSON file; and the two ways to make one."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NotRequired, Required, TypedDict, Unpack

import msgspec
from msgspec import Struct

from terminal_sdk.card import bank, layout
from terminal_sdk.card.errors import CardImageInvalid
from terminal_sdk.card.legacy import legacy_check_value
from terminal_sdk.crypto import Certificate, CertificateAuthority, CryptoError, Sm2PrivateKey, Sm2PublicKey, sm3

Kind = Literal["third_generation", "legacy"]
IssueCertificate = Callable[[str, Sm2PublicKey], Certificate]
"""(common name, public key) → certificate: how an issuer's certification authority is asked."""

DEFAULT_PIN = "123456"
DEFAULT_REGION = "310000"
DEFAULT_ISSUER = "上海市人社局"
HAN = "01"
_CHINA = dt.timezone(dt.timedelta(hours=8))

_PATTERNS = {
    "card_number": layout.CARD_NUMBER,
    "region": re.compile(r"[0-9]{6}"),
    "identification": re.compile(r"[0-9a-f]{32}"),
    "social_security_number": layout.SOCIAL_SECURITY_NUMBER,
    "sex": re.compile(r"[12]"),
    "ethnicity": re.compile(r"[0-9]{2}"),
    "birthplace": re.compile(r"[0-9]{6}"),
    "pin": re.compile(r"[0-9]{6}"),
    "private_key": re.compile(r"[0-9a-f]{64}"),
    "bank_code": re.compile(r"[A-Z0-9]{2,10}"),
    "pan": bank.PAN,
    "check_value": re.compile(r"[0-9a-f]{16}"),
}
_THIRD_ONLY = ("private_key", "certificate_pem", "bank_code", "pan")


class PersonFields(TypedDict, total=False):
    """What ``personalise`` and ``legacy`` take about holder and issue; all but number and name have defaults.

    Birth date, sex and birthplace come from the social security number unless given.
    """

    social_security_number: Required[str]
    name: Required[str]
    sex: NotRequired[str]
    ethnicity: NotRequired[str]
    birthplace: NotRequired[str]
    birth_date: NotRequired[dt.date]
    region: NotRequired[str]
    identification: NotRequired[str]
    issuer: NotRequired[str]
    pin: NotRequired[str]


class _Person(TypedDict):
    social_security_number: str
    name: str
    sex: str
    ethnicity: str
    birthplace: str
    birth_date: dt.date
    region: str
    identification: str
    issuer: str
    pin: str


class CardImage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One card's contents. A private key, a PIN and personal data: the file is a secret, and ``repr`` shows none of it.

    ``identification``: 16 bytes in hex that begin with the region. ``issuer``: at most 12 bytes of GBK;
    ``name``: at most 30. ``sex`` 1 or 2, ``ethnicity`` two digits, ``birthplace`` six. The rest of its meaning is in
    ``docs/reference/card.md``. Raises ``CardImageInvalid`` naming the field that is wrong.
    """

    kind: Kind
    card_number: str
    region: str
    identification: str
    issuer: str
    issued_on: dt.date
    expires_on: dt.date
    version: Literal["3.00", "2.00"]
    social_security_number: str
    name: str
    sex: str
    ethnicity: str
    birthplace: str
    birth_date: dt.date
    pin: str = DEFAULT_PIN
    private_key: str | None = None
    certificate_pem: str | None = None
    bank_code: str | None = None
    pan: str | None = None
    check_value: str | None = None

    def __post_init__(self) -> None:
        """Check every field, however the image was made."""
        for field, pattern in _PATTERNS.items():
            value = getattr(self, field)
            if value is not None and not pattern.fullmatch(value):
                raise CardImageInvalid(field, f"must match {pattern.pattern}")
        if not self.identification.startswith(self.region):
            raise CardImageInvalid("identification", "must begin with the region")
        if self.expires_on < self.issued_on:
            raise CardImageInvalid("expires_on", "lies before issued_on")
        self._check_text()
        self._check_kind()

    def _check_text(self) -> None:
        for field, length in (("issuer", 12), ("name", 30)):
            text = getattr(self, field)
            try:
                layout.padded_text(text, length)
            except ValueError as error:  # too long, or a character that GB18030 does not have
                raise CardImageInvalid(field, f"does not fit {length} bytes of GBK") from error
            if not text or text != text.strip() or not text.isprintable():
                raise CardImageInvalid(field, "must be printable text without spaces around it")

    def _check_kind(self) -> None:
        third = self.kind == "third_generation"
        if self.version != (layout.VERSION_THIRD if third else layout.VERSION_LEGACY):
            raise CardImageInvalid("version", f"does not belong to kind {self.kind}")
        for field in _THIRD_ONLY:
            if (getattr(self, field) is not None) != third:
                raise CardImageInvalid(field, "belongs to every third-generation card and to no other")
        if (self.check_value is None) != third:
            raise CardImageInvalid("check_value", "belongs to every legacy card and to no other")
        if third:
            self._check_key()

    def _check_key(self) -> None:
        try:
            matches = self.certificate().public_key == self.signing_key().public_key
        except CryptoError as error:
            raise CardImageInvalid("certificate_pem", "or private_key cannot be read") from error
        if not matches:
            raise CardImageInvalid("private_key", "is not the key of the certificate")

    def __repr__(self) -> str:
        """Only what is nobody's secret."""
        return f"CardImage(kind={self.kind!r}, region={self.region!r}, version={self.version!r})"

    @property
    def public_file(self) -> layout.PublicFile:
        """EF05 of this card."""
        return layout.PublicFile(
            identification=bytes.fromhex(self.identification),
            version=self.version,
            issuer=self.issuer,
            issued_on=self.issued_on,
            expires_on=self.expires_on,
            card_number=self.card_number,
        )

    @property
    def holder_file(self) -> layout.HolderFile:
        """EF06 of this card."""
        return layout.HolderFile(
            social_security_number=self.social_security_number,
            name=self.name,
            sex=self.sex,
            ethnicity=self.ethnicity,
            birthplace=self.birthplace,
            birth_date=self.birth_date,
        )

    def certificate(self) -> Certificate:
        """The certificate of a third-generation card. Raises ``ValueError`` on a legacy card."""
        if self.certificate_pem is None:
            raise ValueError("a legacy card has no certificate")
        return Certificate.from_pem(self.certificate_pem)

    def signing_key(self) -> Sm2PrivateKey:
        """The private key of a third-generation card. Raises ``ValueError`` on a legacy card."""
        if self.private_key is None:
            raise ValueError("a legacy card has no key")
        return Sm2PrivateKey.from_bytes(bytes.fromhex(self.private_key))

    def to_json(self) -> str:
        """The card as a JSON text."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> CardImage:
        """Read a card back. Raises ``CardImageInvalid``."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            cause = error.__cause__
            if isinstance(cause, CardImageInvalid):
                raise cause from None
            raise CardImageInvalid("file", f"is not a card image: {error}") from error

    @classmethod
    def load(cls, path: Path) -> CardImage:
        """Read a card from a file. Raises ``CardImageInvalid``, ``OSError``."""
        return cls.from_json(path.read_bytes())

    @classmethod
    def personalise(
        cls,
        issuer_ca: CertificateAuthority | IssueCertificate,
        *,
        card_number: str,
        bank_code: str,
        pan: str,
        key: Sm2PrivateKey | None = None,
        issued_on: dt.date,
        expires_on: dt.date,
        **person: Unpack[PersonFields],
    ) -> CardImage:
        """Make a third-generation card: a key pair (unless given) and a certificate over it, named by the card number.

        ``issuer_ca``: an authority, which certifies from the day of issue to the end of the last valid day (China
        time), or a callable that asks one. ``person``: the remaining fields; region, issuer, PIN, ethnicity and
        identification have defaults. Raises ``CardImageInvalid``.
        """
        key = key or Sm2PrivateKey.generate()
        if isinstance(issuer_ca, CertificateAuthority):
            certificate = issuer_ca.issue(card_number, key.public_key, *_validity(issued_on, expires_on))
        else:
            certificate = issuer_ca(card_number, key.public_key)
        return cls(
            kind="third_generation",
            version="3.00",
            card_number=card_number,
            issued_on=issued_on,
            expires_on=expires_on,
            bank_code=bank_code,
            pan=pan,
            private_key=key.to_bytes().hex(),
            certificate_pem=certificate.pem(),
            **_with_defaults(card_number, person),
        )

    @classmethod
    def legacy(
        cls,
        master_key: bytes,
        *,
        card_number: str,
        issued_on: dt.date,
        expires_on: dt.date,
        **person: Unpack[PersonFields],
    ) -> CardImage:
        """Make a legacy card: no key, no bank; its check value is made under the issuer's master key (16 bytes).

        ``person``: the remaining fields, with the same defaults. Raises ``CardImageInvalid``.
        """
        image = cls(
            kind="legacy",
            version="2.00",
            card_number=card_number,
            issued_on=issued_on,
            expires_on=expires_on,
            check_value="0" * 16,  # made below, over this card's own EF05
            **_with_defaults(card_number, person),
        )
        value = legacy_check_value(master_key, card_number, image.public_file.static_data())
        return msgspec.structs.replace(image, check_value=value.hex())


def _with_defaults(card_number: str, person: PersonFields) -> _Person:
    number = person["social_security_number"]
    if not layout.SOCIAL_SECURITY_NUMBER.fullmatch(number):
        raise CardImageInvalid("social_security_number", "must be 17 digits and a digit or X")
    region = person.get("region", DEFAULT_REGION)
    serial = sm3(b"card-identification" + card_number.encode()).hex()
    return {
        "social_security_number": number,
        "name": person["name"],
        "sex": person.get("sex", "1" if int(number[16]) % 2 else "2"),
        "ethnicity": person.get("ethnicity", HAN),
        "birthplace": person.get("birthplace", number[:6]),
        "birth_date": person.get("birth_date") or _birth_date(number),
        "region": region,
        "identification": person.get("identification", (region + serial)[:32]),
        "issuer": person.get("issuer", DEFAULT_ISSUER),
        "pin": person.get("pin", DEFAULT_PIN),
    }


def _birth_date(number: str) -> dt.date:
    try:
        return dt.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError as error:
        raise CardImageInvalid("social_security_number", "holds no date of birth") from error


def _validity(issued_on: dt.date, expires_on: dt.date) -> tuple[dt.datetime, dt.datetime]:
    begin = dt.datetime.combine(issued_on, dt.time(), _CHINA)
    end = dt.datetime.combine(expires_on, dt.time(23, 59, 59), _CHINA)
    return begin.astimezone(dt.UTC), end.astimezone(dt.UTC)
