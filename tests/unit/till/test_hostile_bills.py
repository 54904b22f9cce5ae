"""Bill files that no till would write on purpose: each is refused, and none can be read in two ways."""

from __future__ import annotations

import datetime as dt

import pytest

from terminal_sdk.cli.billfile import BillFile, BillInvalid, bill_of, line_entry, read_bill

NOW = dt.datetime(2026, 1, 1, 16, 0, tzinfo=dt.UTC)


def line_with(field: str) -> str:
    return f'{{"visit_no": "V-1", "lines": [{{"item_code": "1", "item_name": "x", "category": "A", {field}}}]}}'


def refusal_of(text: str) -> str:
    with pytest.raises(BillInvalid) as refused:
        bill_of(read_bill(text), visit_no=None, visit_type="pharmacy", now=NOW)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line_with('"amount_fen": 100, "amount_fen": 1'), "same name twice"),
        ('{"visit_no": "V-1", "visit_no": "V-2", "lines": []}', "same name twice"),
        (line_with('"amount_fen": ' + "9" * 5_000), "too long"),
        ("visit_no = 'V-1'\n[[lines]]\namount_fen = " + "9" * 5_000, "too long"),
        (line_with('"amount_fen": 1e2'), "got `float`"),
        (line_with('"amount_fen": true'), "got `bool`"),
        (line_with('"amount_fen": NaN'), "got `float`"),
        (line_with('"amount": 24.5'), "write amount as a string"),
        (line_with('"amount": "1.00"').replace('"x"', '"\\ud800"'), "not whole UTF-8"),
        ('{"lines": ' + "[" * 100_000 + "]" * 100_000 + "}", "neither JSON nor TOML"),
    ],
)
def test_refused(text: str, said: str) -> None:
    assert said in refusal_of(text)


def test_a_byte_order_mark_is_no_part_of_the_bill() -> None:
    assert read_bill("\ufeff" + line_with('"amount": "1.00"')) == read_bill(line_with('"amount": "1.00"'))


def test_a_byte_of_another_character_set_on_the_command_line_is_refused() -> None:
    entry = line_entry("1:" + b"\xb0\xa2".decode("utf-8", "surrogateescape") + ":A:1.00")
    with pytest.raises(BillInvalid, match="line 1: the code or the name is not whole UTF-8"):
        bill_of(BillFile(lines=[entry]), visit_no="V-1", visit_type="pharmacy", now=NOW)


def test_the_day_of_service_is_the_day_in_china() -> None:
    before = bill_of(
        read_bill(line_with('"amount": "1.00"')),
        visit_no=None,
        visit_type="pharmacy",
        now=NOW - dt.timedelta(microseconds=1),
    )
    after = bill_of(read_bill(line_with('"amount": "1.00"')), visit_no=None, visit_type="pharmacy", now=NOW)
    assert (before["service_date"], after["service_date"]) == (dt.date(2026, 1, 1), dt.date(2026, 1, 2))
