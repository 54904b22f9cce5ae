"""The bytes for an ESC/POS printer: commands, character set, and columns as the printer counts them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

import terminal_sdk
from terminal_sdk.receipt import to_printer
from terminal_sdk.wire import Receipt
from tests.support.receipts import EVERY_KIND, composed, item, settled


def printed(receipt: Receipt, encoding: str = "gb18030") -> list[bytes]:
    """The rows between the commands."""
    data = to_printer(receipt, encoding=encoding)
    head, tail = (b"\x1b@\x1c&" if encoding.startswith("gb") else b"\x1b@"), b"\x1bd\x04\x1dV\x01"
    assert data.startswith(head)
    assert data.endswith(b"\n" + tail)
    return data[len(head) : -len(tail) - 1].split(b"\n")


def printer_columns(row: bytes) -> int:
    """How a printer in GB18030 counts: a byte below 0x80 is half a cell; two bytes, or four (the second one a digit),
    are a whole one.
    """
    position = used = 0
    while position < len(row):
        if row[position] < 0x80:
            position, used = position + 1, used + 1
        else:
            position, used = position + (4 if 0x30 <= row[position + 1] <= 0x39 else 2), used + 2
    return used


@pytest.mark.parametrize("make", EVERY_KIND.values(), ids=EVERY_KIND.keys())
def test_every_row_arrives_and_fits(make: Callable[[], Receipt]) -> None:
    receipt = make()
    rows = printed(receipt)
    assert [row.decode("gb18030") for row in rows] == receipt.text.splitlines()
    assert max(printer_columns(row) for row in rows) == 48


def test_amounts_end_at_the_edge_behind_any_name() -> None:
    names = ["×30片", "𠮷野家", "éclair", "β受体", "No. 5", "①号方"]
    receipt = composed(lines=[item(number, name, "A", 12_345) for number, name in enumerate(names, 1)])
    rows = [row for row in printed(receipt) if row.endswith(b"123.45")]
    assert [printer_columns(row) for row in rows] == [48] * len(names)


def test_what_the_printer_lacks_keeps_its_columns() -> None:
    receipt = composed(lines=[item(1, "𠮷", "A", 1), item(2, "中", "A", 1)])
    rare, known = [row for row in printed(receipt, "gbk") if row.endswith(b" 0.01")]
    assert b" ?? " in rare
    assert len(rare) == len(known) == 48


def test_another_character_set_is_not_put_into_chinese_mode() -> None:
    assert b"\x1c" not in to_printer(settled(), encoding="big5")


def test_a_text_cannot_command_the_printer() -> None:
    receipt = msgspec.structs.replace(settled(), text="till\x1bp\x00\x19\xfa\n")
    assert printed(receipt) == ["till?p??ú".encode("gb18030")]


def test_without_the_knife() -> None:
    assert to_printer(settled(), cut=False) == to_printer(settled()).removesuffix(b"\x1dV\x01")


def test_one_function_at_both_addresses() -> None:
    assert terminal_sdk.to_printer is to_printer
