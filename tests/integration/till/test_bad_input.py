"""Input that cannot be right: exit code 2, one line that says what to mend, nothing written, nothing sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.till.conftest import LINE, NewTill

Given = Callable[[Path], list[str]]
CASES: dict[str, tuple[Given, str]] = {
    "no bill": (lambda _: ["--visit", "V-1"], "give the bill"),
    "two bills": (lambda folder: ["--line", LINE, "--bill", str(folder / "bill.json")], "give the bill"),
    "no visit": (lambda _: ["--line", LINE], "number is missing"),
    "a visit with a space": (lambda _: ["--visit", "V 1", "--line", LINE], "visit_no"),
    "an amount with one decimal": (lambda _: ["--visit", "V-1", "--line", "1:a:A:24.5"], "line 1: write yuan"),
    "an amount below nothing": (lambda _: ["--visit", "V-1", "--line", "1:a:A:-24.50"], "line 1: write yuan"),
    "nothing to pay": (lambda _: ["--visit", "V-1", "--line", "1:a:A:0.00"], "total_fen"),
    "a class that is none": (lambda _: ["--visit", "V-1", "--line", "1:a:D:24.50"], "the class is A, B or C"),
    "a name with a control character": (lambda _: ["--visit", "V-1", "--line", "1:a\x1b[2Jb:A:24.50"], "item_name"),
    "a ceiling in fen": (lambda _: ["--visit", "V-1", "--line", LINE, "--ceiling", "1000"], "two decimals"),
    "a key that is too short": (lambda _: ["--visit", "V-1", "--line", LINE, "--key", "1"], "idempotency_key"),
    "a key with a slash": (lambda _: ["--visit", "V-1", "--line", LINE, "--key", "../../etc"], "idempotency_key"),
    "quote and ceiling": (lambda _: ["--visit", "V", "--line", LINE, "--quote", "--ceiling", "1.00"], "not both"),
    "PIN and no PIN": (lambda _: ["--visit", "V", "--line", LINE, "--no-pin"], "not both"),
    "bill and PIN by one stream": (lambda _: ["--bill", "-"], "cannot both come from standard input"),
    "a bill of floats": (lambda folder: ["--bill", str(folder / "floats.json")], "write amount as a string"),
    "a bill in another character set": (lambda folder: ["--bill", str(folder / "gbk.json")], "UTF-8"),
    "a bill that is a picture": (lambda folder: ["--bill", str(folder / "picture.png")], "UTF-8"),
    "a bill that is not there": (lambda folder: ["--bill", str(folder / "none.json")], "none.json"),
    "a line twice": (lambda folder: ["--bill", str(folder / "twice.json")], "line_no may occur once"),
}
BILL = '{"visit_no": "V-1", "lines": [%s]}'
ITEM = '{"item_code": "1", "item_name": "阿莫西林", "category": "A", "line_no": 1, "amount": %s}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bill.json").write_text(BILL % ITEM % '"1.00"', encoding="utf-8")
    (tmp_path / "floats.json").write_text(BILL % ITEM % "1.00", encoding="utf-8")
    (tmp_path / "gbk.json").write_text(BILL % ITEM % '"1.00"', encoding="gbk")
    (tmp_path / "twice.json").write_text(BILL % f"{ITEM}, {ITEM}" % ('"1.00"', '"2.00"'), encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff" * 100)
    return tmp_path


async def test_every_bad_bill_is_refused_before_anything_happens(new_till: NewTill, folder: Path) -> None:
    till = await new_till(bank_fen=9_000)
    for name, (given, told) in CASES.items():
        done = await till.run(
            *("settle", "--card", till.card_file, "--yes", "--pin-stdin", *given(folder)), typed="123456\n"
        )
        assert done.code == 2, f"{name}: {done.out}{done.err}"
        assert told in done.err, f"{name}: {done.err}"
        assert re.search(r"^Error: ", done.err, re.MULTILINE), f"{name}: {done.err}"
        assert "阿莫西林" not in done.err, name
    assert till.attempts() == []
    assert await till.service.live_debits(till.card) == []


async def test_cards_readers_and_targets(new_till: NewTill, folder: Path) -> None:
    till = await new_till(bank_fen=9_000)
    bill = ("--visit", till.visit("V-1"), "--line", LINE, "--yes", "--no-pin")
    for code, told, arguments in (
        (2, "give --card FILE", ("settle", *bill)),
        (2, "not both", ("settle", *bill, "--card", till.card_file, "--reader", "auto")),
        (2, "card image", ("settle", *bill, "--card", folder / "bill.json")),
        (2, "does not exist", ("settle", *bill, "--card", folder / "none.json")),
        (2, "say which settlement", ("status",)),
        (2, "say which settlement", ("reverse", "--last", "--key", "12345678")),
        (2, "no settlement of this till yet", ("status", "--last")),
        (2, "say which receipt", ("receipt",)),
        (2, "no settlement of this till yet", ("receipt", "--last")),
        (2, "identifier", ("receipt", "../v1/sessions")),
        (2, "identifier", ("status", "--id", "1 or 1=1")),
        (2, "idempotency_key", ("status", "--key", "a b")),
        (2, "reason", ("reverse", "--key", "12345678", "--yes", "--reason", "x" * 101)),
        (2, "No such command", ("pay",)),
    ):
        done = await till.run(*arguments)
        assert done.code == code, f"{arguments}: {done.out}{done.err}"
        assert told in done.err, f"{arguments}: {done.err}"
    assert till.attempts() == []


async def test_a_card_that_does_not_answer(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=9_000, bank=None)
    done = await till.settle("V-1", "--interface", "contactless", "--json")
    assert (done.code, done.json["error"]["exit_code"], till.attempts()) == (3, 3, [])
    assert "no card answers on the contactless interface" in done.err


async def test_no_till_is_enrolled_here(new_till: NewTill, tmp_path: Path) -> None:
    till = await new_till()
    for arguments in (
        ("quote", "--visit", "V", "--line", LINE, "--card", till.card_file),
        ("status", "--last"),
        ("journal", "list"),
        ("receipt", "--last"),
    ):
        done = await till.run(*arguments, "--home", tmp_path / "empty")
        assert done.code == 32, done.err
        assert "settlement-terminal enrol makes one" in done.err
    assert not (tmp_path / "empty").exists()
