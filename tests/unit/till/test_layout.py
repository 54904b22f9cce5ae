"""What is shown stands in columns; the counter's lines stand in the middle of the paper; settings survive writing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from terminal_sdk.cli.exits import MEANINGS, Exit
from terminal_sdk.cli.home import Defaults, Home, PrinterSettings, ReceiptSettings, TillSettings
from terminal_sdk.cli.outcomes import split_rows
from terminal_sdk.cli.printing import Paper, dressed
from terminal_sdk.cli.profiles import PROFILES
from terminal_sdk.cli.text import centred, pad, table
from terminal_sdk.receipt.grid import WIDTH, columns
from tests.support.receipts import reversed_, settled, split

SETTINGS = TillSettings(base_url="https://pos.example", terminal_id="TILL0001", profile="pharmacy")


def test_a_chinese_character_takes_two_columns() -> None:
    assert pad("卡号", 6) == "卡号  "
    assert centred("卡号", 10) == "   卡号"
    assert table([("a", "1"), ("left out", ""), ("卡号", "2")], 6) == ["a       1", "卡号    2"]


def test_amounts_end_in_one_column() -> None:
    rows = table(
        split_rows(split(current_year=5, carried_over=1_000_000_00, bank=173_70, own_expense=1), all_payers=True)
    )
    assert len({columns(row) for row in rows}) == 1
    assert all(row[-3] == "." for row in rows)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_the_counters_lines_fit_the_paper_and_leave_the_text_alone(profile: str) -> None:
    receipt = settled()
    settings = TillSettings(base_url="http://x", terminal_id="TILL0001", profile=profile)  # type: ignore[arg-type]
    paper = Paper.of(settings, None, None, None)
    text = dressed(receipt, paper, reprint=True).text
    assert receipt.text in text
    lines = text.splitlines()
    assert [line.strip() for line in (lines[0], lines[1], lines[-1])] == [
        "** 补打 REPRINT **",
        PROFILES[profile].header,  # type: ignore[index]
        PROFILES[profile].footer,  # type: ignore[index]
    ]
    assert max(columns(line) for line in lines) <= WIDTH


def test_what_is_said_of_the_goods_is_not_said_of_a_reversal() -> None:
    paper = Paper.of(SETTINGS, None, None, None)
    assert dressed(reversed_(), paper).text.endswith(reversed_().text)
    assert PROFILES["pharmacy"].header in dressed(reversed_(), paper).text


def test_a_long_header_goes_on_in_the_next_row() -> None:
    settings = msgspec.structs.replace(SETTINGS, receipt=ReceiptSettings(header="上海市" * 20))
    rows = dressed(settled(), Paper.of(settings, None, None, None)).text.splitlines()
    assert "".join(row.strip() for row in rows[:3]) == "上海市" * 20
    assert max(columns(row) for row in rows) <= WIDTH


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    home = Home(tmp_path / "till")
    home.make()
    settings = TillSettings(
        base_url="https://pos.example",
        terminal_id="TILL0001",
        profile="hospital",
        reader='ACS "ACR" 38U\\二',
        printer=PrinterSettings(device="/dev/usb/lp0", cut=False),
        receipt=ReceiptSettings(header="", footer="谢谢惠顾"),
        defaults=Defaults(on_bank_decline="cash", agreement="ceiling"),
    )
    for written in (settings, SETTINGS):
        home.write_settings(written)
        assert home.settings() == written


def test_the_tills_own_settings_go_before_its_profile() -> None:
    own = TillSettings(
        base_url="http://x",
        terminal_id="TILL0001",
        profile="hospital",
        receipt=ReceiptSettings(header=""),
        defaults=Defaults(on_bank_decline="cash"),
    ).counter()
    assert (own.header, own.on_bank_decline, own.agreement) == ("", "cash", "quote")
    assert SETTINGS.counter() == PROFILES["pharmacy"]


def test_every_exit_code_has_its_meaning() -> None:
    assert list(MEANINGS) == list(Exit)
