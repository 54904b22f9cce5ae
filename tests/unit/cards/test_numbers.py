"""Names and numbers: one spelling for each, and typing slips refused without repeating what was typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.cards import numbers
from settlement.cards.errors import NumberInvalid

ID_NUMBER = "11010519491231002X"  # the example of GB 11643


def test_id_number_of_the_standard_is_accepted() -> None:
    assert numbers.id_number(ID_NUMBER) == ID_NUMBER


@pytest.mark.parametrize(
    "spelling", ["11010519491231002x", " 110105 19491231 002X ", "１１０１０５１９４９１２３１００２Ｘ"]
)
def test_id_number_spellings_are_one_number(spelling: str) -> None:
    assert numbers.id_number(spelling) == ID_NUMBER


@given(first=st.from_regex(r"[0-9]{17}", fullmatch=True), place=st.integers(0, 17), shift=st.integers(1, 9))
def test_one_wrong_digit_of_an_id_number_is_noticed(first: str, place: int, shift: int) -> None:
    number = first + numbers.id_check_character(first)
    assert numbers.id_number(number) == number
    old = "10" if number[place] == "X" else number[place]
    changed = number[:place] + str((int(old) + shift) % 10) + number[place + 1 :]
    with pytest.raises(NumberInvalid):
        numbers.id_number(changed)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (numbers.id_number, "110105194912310021"),
        (numbers.id_number, "1101051949123100"),
        (numbers.id_number, "²10105194912310021"),
        (numbers.card_number, "A1234567"),
        (numbers.card_number, "A12345678\u0661"),
        (numbers.pan, "62220202"),
        (numbers.pan, "62220202001122334455"),
        (numbers.bank_code, "icbc"),
        (numbers.name, "  "),
        (numbers.name, "张\x00三"),
        (numbers.name, "张" * 51),
    ],
)
def test_a_wrong_number_is_refused_without_being_repeated(check: object, value: str) -> None:
    assert callable(check)
    with pytest.raises(NumberInvalid) as refused:
        check(value)
    assert not value.strip() or value.strip() not in str(refused.value)


def test_names_keep_their_characters_and_lose_stray_blanks() -> None:
    assert numbers.name("  欧阳\u3000娜娜 ") == "欧阳 娜娜"
    assert numbers.name("Ame\u0301lie  Martin") == "Am\u00e9lie Martin"


def test_luhn_check_digit() -> None:
    assert numbers.luhn_check_digit("7992739871") == "3"
