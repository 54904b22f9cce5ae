"""The insurer's file of credits: read strictly, amounts whole fen, every wrong line named, no number ever shown."""

from __future__ import annotations

import pytest

from settlement.cards import numbers
from settlement.cards.credit_file import PROBLEMS_TOLD, CreditsRefused, read_credits
from terminal_sdk.wire import MAX_FEN

FIRST = "310101196401209713"
SECOND = "31010119750303201X"


def read(*rows: str, header: str = "id_number,amount") -> list[tuple[int, str, int]]:
    return [(each.line, each.number, each.amount_fen) for each in read_credits([header, *rows]).credits]


def problems(*rows: str, header: str = "id_number,amount") -> list[str]:
    with pytest.raises(CreditsRefused) as refused:
        read(*rows, header=header)
    assert FIRST not in str(refused.value)
    return refused.value.problems


@pytest.mark.parametrize(
    ("amount", "fen"),
    [("0.00", 0), ("0.29", 29), ("1200.00", 120_000), ("8.20", 820), (f"{MAX_FEN // 100}.00", MAX_FEN)],
)
def test_amounts_are_whole_fen(amount: str, fen: int) -> None:
    assert read(f"{FIRST},{amount}") == [(2, FIRST, fen)]


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "12",
        "12.5",
        "12.345",
        "012.00",
        ".50",
        "+1.00",
        "-1.00",
        " 1.00",
        "1.00 ",
        "1,200.00",
        "1e3",
        "NaN",
        "１.００",
    ],
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    (problem,) = problems(f'{FIRST},"{amount}"')
    assert problem == f"line 2: amount must be yuan with two decimals, such as 1200.00, not {amount!r}"


def test_a_number_has_one_spelling() -> None:
    assert read(f"{SECOND.lower()},1.00") == [(2, SECOND, 100)]
    assert problems(f"{SECOND},1.00", f"{SECOND.lower()},1.00") == ["line 3: the same person as line 2"]
    assert read("a1b2c3d4e,1.00", header="card_number,amount") == [(2, "A1B2C3D4E", 100)]


def test_every_wrong_line_is_named() -> None:
    found = problems("x,1.00", f"{FIRST},1.00", f"{FIRST},2.00", FIRST, "", f"{SECOND},1", f"{SECOND},1.00,")
    assert found == [
        "line 2: id_number: must be 17 digits and a digit or X",
        "line 4: the same person as line 3",
        "line 5: there must be 2 fields, id_number and amount, not 1",
        "line 6: there must be 2 fields, id_number and amount, not 0",
        "line 7: amount must be yuan with two decimals, such as 1200.00, not '1'",
        "line 8: there must be 2 fields, id_number and amount, not 3",
    ]


def test_of_many_wrong_lines_some_are_told() -> None:
    with pytest.raises(CreditsRefused) as refused:
        read(*["x,1.00"] * (PROBLEMS_TOLD + 7))
    assert len(refused.value.problems) == PROBLEMS_TOLD + 7
    assert str(refused.value).splitlines()[PROBLEMS_TOLD:] == ["and 7 more"]


@pytest.mark.parametrize("header", ["", "id_number", "amount,id_number", "id_number,amount,name", "ID_NUMBER,AMOUNT"])
def test_another_header_is_refused(header: str) -> None:
    assert problems(f"{FIRST},1.00", header=header)[0].startswith("line 1: the header must be id_number,amount or")


def test_a_file_of_nobody_is_refused() -> None:
    assert problems() == ["there is nobody in it"]


def test_steps_are_told() -> None:
    told: list[int] = []
    first = [f"3101011980010{number:04d}" for number in range(1_000, 1_100)]
    rows = [f"{each}{numbers.id_check_character(each)},1.00" for each in first]
    read_credits(["id_number,amount", *rows], told.append)
    assert sum(told) == 100
