"""Paper: the roll of an ESC/POS printer, a PDF; and a printer that fails never makes a paid bill look unpaid."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.integration.till.conftest import NewTill
from tests.support.tools import chinese_font, not_here


def extracted_text(pdf: Path) -> str:
    if shutil.which("pdftotext") is None:
        not_here("needs pdftotext: apt-get install poppler-utils")
    command = ["pdftotext", "-layout", str(pdf), "-"]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


async def test_the_roll_of_a_printer(new_till: NewTill, tmp_path: Path) -> None:
    till = await new_till(bank_fen=9_000)
    roll = tmp_path / "roll.bin"
    paid = await till.settle("ORDER-1", "--printer", roll, "--json")
    assert (paid.code, paid.json["receipt_problem"]) == (0, None)
    assert roll.read_bytes().startswith(b"\x1b@")
    assert paid.json["receipt"]["text"].splitlines()[-1].encode("gb18030") in roll.read_bytes()
    again = await till.run("receipt", "--last", "--printer", roll)
    assert again.code == 0
    assert roll.read_bytes().count(b"\x1b@") == 2
    assert "补打".encode("gb18030") in roll.read_bytes()


async def test_the_tills_own_printer_and_lines(new_till: NewTill, tmp_path: Path) -> None:
    till = await new_till(bank_fen=9_000)
    with (till.home / "till.toml").open("a", encoding="utf-8") as settings:
        settings.write(f'\n[printer]\ndevice = "{tmp_path}/own.bin"\ncut = false\n')
        settings.write('[receipt]\nheader = ""\nfooter = "谢谢惠顾"\n')
    paid = await till.settle("ORDER-1")
    assert paid.code == 0, paid.err
    assert "定点零售药店" not in paid.out
    assert paid.out.rstrip().endswith("谢谢惠顾")
    printed = (tmp_path / "own.bin").read_bytes()
    assert "谢谢惠顾".encode("gb18030") in printed
    assert b"\x1dV" not in printed


async def test_the_receipt_and_its_reversal_as_pdf(new_till: NewTill, tmp_path: Path) -> None:
    font = chinese_font()
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    paid = await till.settle("ORDER-1", "--pdf", tmp_path / "paid.pdf", "--font", font)
    assert (paid.code, paid.err) == (0, "")
    text = extracted_text(tmp_path / "paid.pdf")
    for row in (r"定点零售药店 顾客联", r"医保结算单", r"阿莫西林胶囊", r"当年账户支付\s+6\.00", r"银行卡支付\s+4\.00"):
        assert re.search(row, text), text
    undone = await till.run("reverse", "--last", "--yes", "--pdf", tmp_path / "undone.pdf", "--font", font)
    assert (undone.code, undone.err) == (0, "")
    text = extracted_text(tmp_path / "undone.pdf")
    assert "冲正" in text
    assert "-10.00" in text


async def test_a_printer_that_fails_leaves_the_bill_paid(new_till: NewTill, tmp_path: Path) -> None:
    till = await new_till(bank_fen=90_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for number, problem in enumerate(
        (
            ("--printer", tmp_path),
            ("--printer", pipe),
            ("--printer", tmp_path / "no" / "such" / "folder"),
            ("--pdf", tmp_path / "receipt.pdf", "--font", tmp_path / "no-font.ttf"),
        )
    ):
        paid = await till.settle(f"ORDER-{number}", *problem, "--json")
        wrong_usage = problem[1] == tmp_path  # a folder is seen before anything is done
        assert paid.code == (2 if wrong_usage else 0), paid.err
        if wrong_usage:
            continue
        assert paid.json["outcome"] == "settled"
        assert paid.json["receipt"]["kind"] == "settlement"
        assert paid.json["receipt_problem"]
        receipt_id = paid.json["receipt"]["receipt_id"]
        assert f"settlement-terminal receipt {receipt_id} prints it" in paid.err
        assert (await till.run("receipt", receipt_id, *problem)).code == 40
        assert (await till.run("receipt", receipt_id)).code == 0
