"""PIN blocks: the layout of ISO 9564-1 format 4, bound to key and account number."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.crypto import sm4_decrypt_block, sm4_encrypt_block
from terminal_sdk.pin import (
    PinBlockInvalid,
    decode_pin_block,
    encode_pin_block,
    pan_field,
    pin_field,
    translate_pin_block,
)

KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PAN = "6222020200112233445"
pins = st.text("0123456789", min_size=4, max_size=12)
pans = st.text("0123456789", min_size=1, max_size=19)
keys = st.binary(min_size=16, max_size=16)


@settings(deadline=None)
@given(pins, pans, keys)
def test_round_trip(pin: str, pan: str, key: bytes) -> None:
    assert decode_pin_block(encode_pin_block(pin, pan, key), pan, key) == pin


def test_fields_are_laid_out_as_the_standard_has_them() -> None:
    random = bytes.fromhex("0102030405060708")

    assert pin_field("1234", random).hex() == "441234aaaaaaaaaa" + "0102030405060708"
    assert pin_field("123456789012", random).hex() == "4c123456789012aa" + "0102030405060708"
    assert pan_field("1234567890123456789").hex() == "71234567890123456789" + "000000000000"
    assert pan_field("123456789012").hex() == "0123456789012" + "0" * 19
    assert pan_field("12345").hex() == "0000000012345" + "0" * 19


def test_the_block_is_two_encipherments_around_the_account_number() -> None:
    block = encode_pin_block("123456", PAN, KEY, random=bytes)

    outer = sm4_decrypt_block(KEY, block)
    inner = bytes(a ^ b for a, b in zip(outer, pan_field(PAN), strict=True))
    assert sm4_decrypt_block(KEY, inner) == pin_field("123456", bytes(8))


def test_two_blocks_of_one_pin_differ() -> None:
    assert encode_pin_block("123456", PAN, KEY) != encode_pin_block("123456", PAN, KEY)


def test_a_block_for_another_account_or_key_is_refused() -> None:
    block = encode_pin_block("123456", PAN, KEY, random=bytes)

    for pan, key in ((PAN[:-1] + "6", KEY), (PAN, KEY[:-1] + b"\x11")):
        with pytest.raises(PinBlockInvalid, match="no PIN"):
            decode_pin_block(block, pan, key)


@pytest.mark.parametrize(
    "field",
    [
        "341234aaaaaaaaaa",  # format 3
        "431234aaaaaaaaaa",  # three digits
        "4d1234567890123a",  # thirteen digits
        "44123aaaaaaaaaaa",  # a digit short
        "441234aaaaaaaaa0",  # other fill
    ],
)
def test_a_block_with_another_field_inside_is_refused(field: str) -> None:
    inner = sm4_encrypt_block(KEY, bytes.fromhex(field) + bytes(8))
    block = sm4_encrypt_block(KEY, bytes(a ^ b for a, b in zip(inner, pan_field(PAN), strict=True)))

    with pytest.raises(PinBlockInvalid, match="no PIN"):
        decode_pin_block(block, PAN, KEY)


@settings(deadline=None)
@given(st.binary(max_size=20), pans, keys)
def test_arbitrary_blocks_are_a_pin_or_the_typed_error(block: bytes, pan: str, key: bytes) -> None:
    try:
        pin = decode_pin_block(block, pan, key)
    except PinBlockInvalid:
        return
    assert 4 <= len(pin) <= 12


def test_translation_changes_the_key_and_nothing_else() -> None:
    other = bytes(16)
    block = translate_pin_block(encode_pin_block("123456", PAN, KEY), PAN, KEY, other)

    assert decode_pin_block(block, PAN, other) == "123456"
    with pytest.raises(PinBlockInvalid):
        translate_pin_block(bytes(15), PAN, KEY, other)


@pytest.mark.parametrize(
    ("pin", "pan", "key"),
    [
        ("123", PAN, KEY),
        ("1234567890123", PAN, KEY),
        ("12a4", PAN, KEY),
        ("１２３４", PAN, KEY),
        ("1234", "", KEY),
        ("1234", "1" * 20, KEY),
        ("1234", "62220202001122334٤5", KEY),
        ("1234", PAN, KEY[:15]),
    ],
)
def test_wrong_input_is_refused_and_not_repeated(pin: str, pan: str, key: bytes) -> None:
    with pytest.raises(PinBlockInvalid) as caught:
        encode_pin_block(pin, pan, key)

    assert pin not in str(caught.value)
    assert not pan or pan not in str(caught.value)
    with pytest.raises(PinBlockInvalid):
        pin_field("1234", bytes(7))
