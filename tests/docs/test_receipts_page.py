"""Runs every Python block of the page on receipts on a real receipt, and holds its tables to the code."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import Bill, Settled
from terminal_sdk.card import VirtualCard
from terminal_sdk.receipt import fonts, pdf_bytes, to_printer
from tests.docs.test_terminal_maker import BLOCK, run
from tests.support.raw_terminal import SHANGHAI, line
from tests.support.receipts import settled
from tests.support.service import RunningService, present
from tests.support.tools import chinese_font

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "receipts.md").read_text(encoding="utf-8")


async def test_the_page_runs_as_it_stands(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chinese_font()
    monkeypatch.chdir(tmp_path)
    image = await service.issue_card(current_year_fen=1_000, bank_fen=100_000)
    async with service.terminal() as terminal:
        with present(VirtualCard(image)) as card:
            bill = Bill(
                visit_no="RECEIPT-1",
                visit_type="pharmacy",
                service_date=dt.datetime.now(SHANGHAI).date(),
                lines=[line(2_450, 1)],
            )
            result = await terminal.settle(card=card, bank_ceiling_fen=100_000, pin=image.pin, **bill)
        assert isinstance(result, Settled), result
        names: dict[str, Any] = {"__name__": "guide", "terminal": terminal, "result": result}
        for block in BLOCK.finditer(PAGE):
            await run(block[1], PAGE.count("\n", 0, block.start(1)), names)
    receipt = names["receipt"]
    assert (tmp_path / "printer.bin").read_bytes() == to_printer(receipt)
    assert (tmp_path / "receipt.pdf").read_bytes() == (tmp_path / "own-font.pdf").read_bytes() == names["content"]
    assert names["content"] == pdf_bytes(receipt)
    said = capsys.readouterr().out
    assert receipt.text in said
    assert "银行 工商银行 " in receipt.text
    assert f"\n原单号 {receipt.receipt_id}\n" in names["reversal"].text
    assert "-24.50\n" in names["reversal"].text
    assert "absent.ttf cannot be read: No such file or directory; install one" in said


def test_the_receipt_on_the_page_is_one_that_is_composed() -> None:
    printed = re.search(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert printed
    assert printed[1] == settled().text


def test_the_bytes_on_the_page_are_the_ones_that_are_sent() -> None:
    named = [bytes.fromhex(each) for each in re.findall(r"^\| `((?:[0-9A-F]{2} ?)+)` \|", PAGE, re.MULTILINE)]
    data = to_printer(settled())
    assert len(named) == 4
    assert data.startswith(named[0] + named[1])
    assert data.endswith(b"\n" + named[2] + named[3])


def test_every_place_where_a_font_is_looked_for_is_on_the_page() -> None:
    section = PAGE[PAGE.index("## Fonts") : PAGE.index("## What can go wrong")]
    assert sorted(re.findall(r"`((?:/|C:)[^`]+)`", section)) == sorted(fonts.PLACES)
