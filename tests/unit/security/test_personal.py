"""Personal data: readable only in its place, under its key; equal values found by a blind index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.security import KeyRing, Personal, PersonalDataError

KEYS = KeyRing(bytes(range(32)))
PERSONAL = Personal(KEYS)


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.text(st.characters(codec="utf-8"), max_size=40))
def test_round_trip(text: str, context: str) -> None:
    sealed = PERSONAL.encrypt(text, context)
    assert PERSONAL.decrypt(sealed, context) == text
    assert len(sealed) == 1 + 12 + len(text.encode()) + 16


def test_the_same_text_is_never_encrypted_alike() -> None:
    assert PERSONAL.encrypt("张三", "1:name") != PERSONAL.encrypt("张三", "1:name")
    assert "张三".encode() not in PERSONAL.encrypt("张三", "1:name")


def test_a_value_moved_to_another_place_is_refused() -> None:
    sealed = PERSONAL.encrypt("张三", "1:name")
    for context in ("2:name", "1:id_number", ""):
        with pytest.raises(PersonalDataError):
            PERSONAL.decrypt(sealed, context)


def test_any_changed_bit_is_refused() -> None:
    sealed = PERSONAL.encrypt("x", "1:name")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(PersonalDataError):
            PERSONAL.decrypt(bytes(changed), "1:name")


def test_short_values_and_other_master_keys_are_refused() -> None:
    for value in (b"", b"\x01", bytes(28)):
        with pytest.raises(PersonalDataError, match="too short"):
            PERSONAL.decrypt(value, "1:name")
    with pytest.raises(PersonalDataError):
        Personal(KeyRing(bytes(32))).decrypt(PERSONAL.encrypt("x", "1:name"), "1:name")


def test_old_key_versions_are_read_and_new_ones_are_not() -> None:
    second = Personal(KEYS, version=2)
    assert second.decrypt(PERSONAL.encrypt("x", "c"), "c") == "x"
    sealed = second.encrypt("x", "c")
    assert sealed[0] == 2
    with pytest.raises(PersonalDataError, match="key version 2"):
        PERSONAL.decrypt(sealed, "c")
    # the version stands under the seal: calling a value's key another one is noticed
    with pytest.raises(PersonalDataError):
        second.decrypt(b"\x01" + sealed[1:], "c")


def test_blind_index_finds_equal_values_and_keeps_kinds_and_keys_apart() -> None:
    index = PERSONAL.blind_index("id_number", "11010119900307758X")
    assert len(index) == 32
    assert index == PERSONAL.blind_index("id_number", " 11010119900307758x ")
    assert index == PERSONAL.blind_index("id_number", "１１０１０１１９９００３０７７５８Ｘ")
    assert index != PERSONAL.blind_index("phone", "11010119900307758X")
    assert index != PERSONAL.blind_index("id_number", "110101199003077581")
    assert index != Personal(KeyRing(bytes(32))).blind_index("id_number", "11010119900307758X")
