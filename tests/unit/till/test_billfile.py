"""A bill from a file or from options: read whole, or refused with its place and without its contents."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from terminal_sdk.cli.billfile import BillFile, BillInvalid, bill_of, line_entry, read_bill

NOW = dt.datetime(2026, 11, 24, 16, 30, tzinfo=dt.UTC)
GOOD = {"item_code": "86900001", "item_name": "阿莫西林胶囊", "category": "A", "amount": "24.50"}


def read(**changes: Any) -> BillFile:
    return read_bill(json.dumps({"visit_no": "V-1", "lines": [GOOD], **changes}, ensure_ascii=False))


def made(file: BillFile, **options: Any) -> dict[str, Any]:
    return dict(bill_of(file, **{"visit_no": None, "visit_type": "pharmacy", "now": NOW, **options}))


def test_what_the_file_leaves_out_comes_from_the_till() -> None:
    bill = made(read())
    assert (bill["visit_no"], bill["visit_type"]) == ("V-1", "pharmacy")
    assert bill["service_date"] == dt.date(2026, 11, 25)  # half past midnight in China
    (line,) = bill["lines"]
    assert (line.line_no, line.amount_fen, line.quantity, line.category) == (1, 2_450, "1", "A")


def test_what_the_file_says_goes_before_the_profile_and_an_option_before_the_file() -> None:
    file = read(visit_type="outpatient", service_date="2026-01-02")
    bill = made(file, visit_no="V-2")
    assert (bill["visit_no"], bill["visit_type"], bill["service_date"]) == ("V-2", "outpatient", dt.date(2026, 1, 2))


def test_fen_and_yuan_chinese_classes_and_own_line_numbers() -> None:
    lines = [
        GOOD | {"category": "丙", "line_no": 7, "quantity": "1.5"},
        {"item_code": "2", "item_name": "b", "category": "b", "amount_fen": 0},
    ]
    first, second = made(read(lines=lines))["lines"]
    assert (first.line_no, first.category, first.quantity) == (7, "C", "1.5")
    assert (second.line_no, second.category, second.amount_fen) == (2, "B", 0)


def test_toml() -> None:
    file = read_bill('visit_no = "V-1"\nservice_date = 2026-01-02\n[[lines]]\n' + _toml_line())
    assert file == read(service_date="2026-01-02")


def _toml_line() -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in GOOD.items())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lines": []}, "at least one"),
        ({"lines": [GOOD | {"amount": 24.5}]}, 'line 1: write amount as a string, "24.50"'),
        ({"lines": [GOOD, GOOD | {"amount": 24}]}, "line 2: write amount as a string"),
        ({"lines": [GOOD | {"amount": "24.5"}]}, "line 1: write yuan with two decimals"),
        ({"lines": [GOOD | {"amount_fen": 2_450}]}, "line 1: give amount (yuan) or amount_fen"),
        ({"lines": [{key: GOOD[key] for key in GOOD if key != "amount"}]}, "line 1: give amount"),
        ({"lines": [{key: GOOD[key] for key in GOOD if key != "amount"} | {"amount_fen": 1.5}]}, "amount_fen"),
        ({"lines": [GOOD | {"category": "D"}]}, "line 1: the class is A, B or C"),
        ({"lines": [GOOD | {"colour": "red"}]}, "colour"),
        ({"lines": "all of it"}, "lines"),
        ({"visit_no": None}, "the visit or order number is missing"),
        ({"visit_type": "dentist"}, "visit_type"),
        ({"service_date": "today"}, "service_date"),
        ({"patient": "张三"}, "patient"),
    ],
)
def test_what_cannot_be_right_names_its_place(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BillInvalid, match=r".*") as refused:
        made(read(**changes))
    assert told in str(refused.value)
    assert "阿莫西林" not in str(refused.value)
    assert "张三" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{]", "\x00", "[" * 100_000, '{"lines":' * 50_000, "<bill/>"])
def test_what_is_no_bill_at_all(text: str) -> None:
    with pytest.raises(BillInvalid):
        made(read_bill(text))


def test_a_line_as_an_option() -> None:
    entry = line_entry("86900001:维生素 B: 复合片:甲:24.50")
    assert (entry.item_code, entry.item_name, entry.category) == ("86900001", "维生素 B: 复合片", "甲")
    assert entry.amount == "24.50"


@pytest.mark.parametrize("text", ["", ":", "a:b:A", ":name:A:1.00", "code"])
def test_an_option_that_is_no_line(text: str) -> None:
    with pytest.raises(BillInvalid, match="CODE:NAME:CLASS:YUAN"):
        line_entry(text)
