"""A card as it is shown: one flat description, masked unless asked otherwise, as lines or as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from terminal_sdk.card import CardRead
from terminal_sdk.cli.masking import mask_name, mask_number
from terminal_sdk.cli.text import pad

View = Mapping[str, str | None]

LABELS: Mapping[str, str] = {
    "kind": "Card",
    "version": "Version 版本",
    "card_number": "Card number 卡号",
    "region": "Region 地区",
    "issuer": "Issuer 发卡机构",
    "issued_on": "Issued on 发卡日期",
    "expires_on": "Expires on 有效期",
    "name": "Name 姓名",
    "social_security_number": "ID number 社会保障号",
    "certificate_fingerprint": "Certificate (SM3)",
    "certificate_not_after": "Certificate valid until",
    "bank_application": "Bank application",
    "account_number": "Account number",
    "account_expires_on": "Account expires on",
    "bank_problem": "Bank application fails",
    "check_value": "Check value",
    "atr": "ATR",
}
_KINDS = {"third_generation": "third generation", "legacy": "legacy, insurance only"}
_LABEL_WIDTH = 24
_LOCKED = "locked (needs the PIN)"


def view_of(card: CardRead, *, reveal: bool) -> dict[str, str | None]:
    """Every field by name; None where the card keeps it locked. Fields that the card does not have are left out."""

    def number(text: str, first: int, last: int) -> str:
        return text if reveal else mask_number(text, first, last)

    name = card.name if card.name is None or reveal else mask_name(card.name)
    identity = card.social_security_number
    shown: dict[str, str | None] = {
        "kind": card.kind,
        "version": card.version,
        "card_number": number(card.card_number, 0, 3),
        "region": card.region,
        "issuer": card.issuer,
        "issued_on": card.issued_on.isoformat(),
        "expires_on": card.expires_on.isoformat(),
        "name": name,
        "social_security_number": None if identity is None else number(identity, 3, 2),
    }
    if card.certificate is not None:
        shown["certificate_fingerprint"] = card.certificate.fingerprint
        shown["certificate_not_after"] = card.certificate.not_after.isoformat()
    if card.bank is not None:
        shown["bank_application"] = card.bank.label
        shown["account_number"] = number(card.bank.pan, 6, 4)
        shown["account_expires_on"] = card.bank.expiry.isoformat()
    if card.bank_problem is not None:
        shown["bank_problem"] = str(card.bank_problem)
    if card.check_value is not None:
        shown["check_value"] = number(card.check_value.hex(), 0, 4)
    shown["atr"] = card.atr.hex(" ").upper()
    return shown


def lines_of(view: View) -> list[str]:
    """The view as aligned lines for a person."""
    return [
        f"{pad(LABELS[field], _LABEL_WIDTH)}  {_LOCKED if value is None else _KINDS.get(value, value)}"
        for field, value in view.items()
    ]
