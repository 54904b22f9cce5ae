"""The check value of a legacy card: eight bytes that only the issuer's master key can make."""

from __future__ import annotations

from terminal_sdk.card.layout import CARD_NUMBER, CHECK_VALUE_BYTES
from terminal_sdk.crypto import diversify, sm4_cbc_mac

PURPOSE = "legacy-check-value"


def legacy_check_value(master_key: bytes, card_number: str, static_data: bytes) -> bytes:
    """The left eight bytes of SM4-CBC-MAC over the static data, under a key diversified by the card number.

    ``master_key``: 16 bytes, the issuer's. ``static_data``: EF05 in one piece (``PublicFile.static_data``).
    Raises ``ValueError`` for a card number of another form, ``KeyInvalid`` for a key of another length.
    """
    if not CARD_NUMBER.fullmatch(card_number):
        raise ValueError("a card number has nine characters, A-Z and 0-9")
    card_key = diversify(master_key, card_number.encode("ascii"), PURPOSE)
    return sm4_cbc_mac(card_key, static_data)[:CHECK_VALUE_BYTES]
