"""PIN blocks in the layout of ISO 9564-1 format 4, enciphered with SM4: a PIN never travels or rests in clear."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from terminal_sdk.crypto import sm4_decrypt_block, sm4_encrypt_block

BLOCK_BYTES = 16
KEY_BYTES = 16
_PIN = re.compile(r"[0-9]{4,12}")
_PAN = re.compile(r"[0-9]{1,19}")
_FORMAT = "4"
_FIELD_NIBBLES = 16
_FILL = "a"
_SHORTEST_PAN = 12


class PinBlockInvalid(ValueError):
    """A PIN, account number, key or block of the wrong form, or a block that was made for another account or key."""


def encode_pin_block(pin: str, pan: str, key: bytes, *, random: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Encipher a PIN (4–12 digits) for an account number (up to 19 digits) under an SM4 key (16 bytes); 16 bytes.

    E(E(PIN field) xor PAN field): eight random bytes in the PIN field make every block different.
    Raises ``PinBlockInvalid``.
    """
    _check_key(key)
    inner = sm4_encrypt_block(key, pin_field(pin, random(_FIELD_NIBBLES // 2)))
    return sm4_encrypt_block(key, _xor(inner, pan_field(pan)))


def decode_pin_block(block: bytes, pan: str, key: bytes) -> str:
    """The PIN in a block. Raises ``PinBlockInvalid`` if it was not made under this key for this account."""
    _check_key(key)
    if len(block) != BLOCK_BYTES:
        raise PinBlockInvalid(f"a PIN block has {BLOCK_BYTES} bytes")
    inner = _xor(sm4_decrypt_block(key, block), pan_field(pan))
    field = sm4_decrypt_block(key, inner).hex()[:_FIELD_NIBBLES]
    length = int(field[1], 16)
    pin, fill = field[2 : 2 + length], field[2 + length :]
    if field[0] != _FORMAT or not _PIN.fullmatch(pin) or fill.strip(_FILL):
        raise PinBlockInvalid("the block holds no PIN under this key and account number")
    return pin


def translate_pin_block(
    block: bytes, pan: str, from_key: bytes, to_key: bytes, *, random: Callable[[int], bytes] = secrets.token_bytes
) -> bytes:
    """The same PIN and account under another key, as between terminal and bank. Raises ``PinBlockInvalid``."""
    return encode_pin_block(decode_pin_block(block, pan, from_key), pan, to_key, random=random)


def pin_field(pin: str, random: bytes) -> bytes:
    """The plain PIN field: 4, length, digits, fill A up to eight bytes, then eight random bytes (9564-1 9.3.4.2)."""
    if not _PIN.fullmatch(pin):
        raise PinBlockInvalid("a PIN has 4 to 12 digits")
    if len(random) != _FIELD_NIBBLES // 2:
        raise PinBlockInvalid("the PIN field takes eight random bytes")
    return bytes.fromhex(f"{_FORMAT}{len(pin):x}{pin}".ljust(_FIELD_NIBBLES, _FILL)) + random


def pan_field(pan: str) -> bytes:
    """The account number field: length minus 12, digits, zeros; shorter numbers zero-filled on the left to 12."""
    if not _PAN.fullmatch(pan):
        raise PinBlockInvalid("an account number has up to 19 digits")
    digits = pan.rjust(_SHORTEST_PAN, "0")
    return bytes.fromhex(f"{len(digits) - _SHORTEST_PAN}{digits}".ljust(2 * BLOCK_BYTES, "0"))


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise PinBlockInvalid(f"the PIN key has {KEY_BYTES} bytes")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
