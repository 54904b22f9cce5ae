"""Card images: made in two ways, read back whole, refused field by field, and silent about what they hold."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from terminal_sdk.card import CardImage, CardImageInvalid, legacy_check_value
from terminal_sdk.crypto import Certificate, CertificateAuthority, Sm2PrivateKey, Sm2PublicKey

CARD: dict[str, Any] = {
    "card_number": "A12345678",
    "issued_on": dt.date(2018, 12, 20),
    "expires_on": dt.date(2028, 12, 19),
    "social_security_number": "31010119500307452X",
    "name": "李明",
}
BANK: dict[str, Any] = {"bank_code": "ICBC", "pan": "6222020200112233445"}


def test_json_round_trip(third_image: CardImage, legacy_image: CardImage) -> None:
    for image in (third_image, legacy_image):
        assert CardImage.from_json(image.to_json()) == image


def test_repr_shows_no_secret_and_no_personal_data(third_image: CardImage) -> None:
    shown = repr(third_image)

    for secret in ("张建国", "310101195003074512", "A12345678", "123456", "62220202", third_image.private_key):
        assert secret is not None
        assert secret not in shown


def test_a_certificate_is_named_by_the_card_and_lasts_as_long(card_ca: CertificateAuthority) -> None:
    image = CardImage.personalise(card_ca, **CARD, **BANK)
    certificate = image.certificate()

    assert certificate.subject == "A12345678"
    assert certificate.public_key == image.signing_key().public_key
    assert certificate.not_before == dt.datetime(2018, 12, 19, 16, tzinfo=dt.UTC)  # midnight in China
    assert certificate.not_after == dt.datetime(2028, 12, 19, 15, 59, 59, tzinfo=dt.UTC)
    assert (image.sex, image.birthplace, image.birth_date) == ("2", "310101", dt.date(1950, 3, 7))


def test_an_authority_may_be_asked_by_a_callable(card_ca: CertificateAuthority) -> None:
    asked: list[str] = []
    begin = dt.datetime(2018, 12, 20, tzinfo=dt.UTC)

    def issue(common_name: str, public_key: Sm2PublicKey) -> Certificate:
        asked.append(common_name)
        return card_ca.issue(common_name, public_key, begin, begin + dt.timedelta(days=1))

    key = Sm2PrivateKey.generate()
    image = CardImage.personalise(issue, key=key, **CARD, **BANK)

    assert asked == ["A12345678"]
    assert image.signing_key().to_bytes() == key.to_bytes()


def test_a_legacy_card_has_a_check_value_and_neither_key_nor_bank() -> None:
    image = CardImage.legacy(bytes(16), **CARD)

    assert (image.private_key, image.certificate_pem, image.bank_code, image.pan) == (None,) * 4
    assert image.check_value == legacy_check_value(bytes(16), "A12345678", image.public_file.static_data()).hex()
    for attribute in (image.certificate, image.signing_key):
        with pytest.raises(ValueError, match="legacy card has no"):
            attribute()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("card_number", "A1234567"),
        ("card_number", "a12345678"),
        ("region", "31000"),
        ("identification", "00" * 16),
        ("identification", "31" * 15),
        ("issuer", "上海市人力社保局"),
        ("issuer", ""),
        ("expires_on", dt.date(2018, 12, 19)),
        ("version", "2.00"),
        ("social_security_number", "31010119500307452"),
        ("name", "名" * 16),
        ("name", " 李明"),
        ("name", "李\n明"),
        ("name", "\ud800"),
        ("sex", "3"),
        ("ethnicity", "1"),
        ("birthplace", "上海"),
        ("pin", "12345"),
        ("pin", "12345a"),
        ("private_key", None),
        ("private_key", "00" * 32),
        ("private_key", "12" * 32),
        ("certificate_pem", "no certificate"),
        ("pan", "622202"),
        ("pan", None),
        ("bank_code", "icbc"),
        ("check_value", "00" * 8),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(third_image: CardImage, field: str, value: object) -> None:
    with pytest.raises(CardImageInvalid) as caught:
        msgspec.structs.replace(third_image, **{field: value})

    assert caught.value.field in {field, "certificate_pem"}
    if isinstance(value, str) and len(value) > 1:
        assert value not in str(caught.value).replace("third_generation", "")


@pytest.mark.parametrize(
    "change", [{"card_number": 1}, {"unknown": 1}, {"issued_on": "20.12.2018"}, {"kind": "fourth"}, {"pin": "1"}]
)
def test_a_json_file_that_is_no_card_is_the_typed_error(third_image: CardImage, change: dict[str, object]) -> None:
    data = json.loads(third_image.to_json()) | change

    with pytest.raises(CardImageInvalid):
        CardImage.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{", b"\xff\xfe"])
def test_a_file_that_is_no_json_is_the_typed_error(text: str | bytes) -> None:
    with pytest.raises(CardImageInvalid):
        CardImage.from_json(text)


@pytest.mark.parametrize("number", ["31010119501307452X", "no number"])
def test_a_social_security_number_must_hold_a_date_of_birth(number: str) -> None:
    with pytest.raises(CardImageInvalid, match="social_security_number"):
        CardImage.legacy(bytes(16), **(CARD | {"social_security_number": number}))


def test_the_check_value_depends_on_key_card_and_data() -> None:
    base = legacy_check_value(bytes(16), "A12345678", b"data")

    assert len(base) == 8
    assert base != legacy_check_value(bytes(15) + b"\x01", "A12345678", b"data")
    assert base != legacy_check_value(bytes(16), "A12345679", b"data")
    assert base != legacy_check_value(bytes(16), "A12345678", b"dat")
    with pytest.raises(ValueError, match="card number"):
        legacy_check_value(bytes(16), "short", b"data")
