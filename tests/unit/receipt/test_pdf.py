"""A PDF says what the text says, each character in its cell, whatever the font; read by programs of another house."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from terminal_sdk.receipt import pdf_bytes, write_pdf
from terminal_sdk.receipt.grid import columns, rows
from terminal_sdk.wire import Receipt
from tests.support.receipts import EVERY_KIND, composed, item, reversed_, settled
from tests.support.tools import ReadPdf

POINT_MM = 25.4 / 72
MARGIN_MM = 4.0
COLUMN_MM = 1.5
ROW_MM = 3.75
WORD = re.compile(r'<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="[\d.]+">(.*?)</word>')


class Word(NamedTuple):
    """A word as it stands on the page: where it begins and ends, in mm, and the cells that it should be in."""

    text: str
    left_mm: float
    right_mm: float
    cells: tuple[int, int]


def solid(text: str) -> str:
    return re.sub(r"\s", "", text)


def words(receipt: Receipt, page: str) -> Iterator[Word]:
    """Every word of the page, held against the row of the text that it stands in."""
    found = [
        (float(left) * POINT_MM, float(top) * POINT_MM, float(right) * POINT_MM, unescaped(word))
        for left, top, right, word in WORD.findall(page)
    ]
    top_mm = min(top for _, top, _, _ in found)
    for number, row in enumerate(rows(receipt.text)):
        of_row = sorted(each for each in found if round((each[1] - top_mm) / ROW_MM) == number)
        assert "".join(word for *_, word in of_row) == solid(row)
        places = [columns(row[:position]) for position, each in enumerate(row) if each != " "]
        for left, _, right, word in of_row:
            mine, places = places[: len(word)], places[len(word) :]
            yield Word(word, left, right, (mine[0], mine[-1] + columns(word[-1])))


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


def boxes(read_pdf: ReadPdf, receipt: Receipt, path: Path, font: Path) -> list[Word]:
    write_pdf(receipt, path, font=font)
    return list(words(receipt, read_pdf("pdftotext", path, "-bbox")))


@pytest.fixture(scope="session", params=["equally wide", "as they come"])
def any_font(request: pytest.FixtureRequest, font: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The font whose Latin letters are equally wide, and its sister whose ``i`` is narrow and whose ``W`` is wide."""
    if request.param == "equally wide":
        return font
    from fontTools.ttLib import TTCollection

    sister = next(face for face in TTCollection(font).fonts if "Mono" not in face["name"].getBestFullName())
    widths, names = sister["hmtx"], sister.getBestCmap()
    assert widths[names[ord("i")]][0] * 2 < widths[names[ord("W")]][0]
    path = tmp_path_factory.mktemp("fonts") / "sister.ttf"
    sister.save(path)
    return path


@pytest.mark.parametrize("make", EVERY_KIND.values(), ids=EVERY_KIND.keys())
def test_the_text_is_the_receipts(make: Callable[[], Receipt], font: Path, read_pdf: ReadPdf, tmp_path: Path) -> None:
    receipt = make()
    write_pdf(receipt, tmp_path / "receipt.pdf", font=font)
    text = read_pdf("pdftotext", tmp_path / "receipt.pdf", "-layout").removesuffix("\f")
    assert [solid(line) for line in text.splitlines() if line] == [solid(line) for line in receipt.text.splitlines()]


@pytest.mark.parametrize("make", EVERY_KIND.values(), ids=EVERY_KIND.keys())
def test_every_character_stands_in_its_cell(
    make: Callable[[], Receipt], any_font: Path, read_pdf: ReadPdf, tmp_path: Path
) -> None:
    found = boxes(read_pdf, make(), tmp_path / "receipt.pdf", any_font)
    assert len(found) > 30
    for word in found:
        first, last = word.cells
        assert MARGIN_MM + first * COLUMN_MM - 0.05 <= word.left_mm, word
        assert word.right_mm <= MARGIN_MM + last * COLUMN_MM + 0.05, word


def test_amounts_end_at_the_same_place(font: Path, read_pdf: ReadPdf, tmp_path: Path) -> None:
    found = boxes(read_pdf, reversed_(), tmp_path / "receipt.pdf", font)
    edges = [word.right_mm for word in found if re.fullmatch(r"-\d+\.\d\d", word.text)]
    assert len(edges) == 8
    assert max(edges) - min(edges) < 0.02
    assert edges[0] == pytest.approx(MARGIN_MM + 48 * COLUMN_MM, abs=0.05)


def test_the_paper(font: Path, read_pdf: ReadPdf, tmp_path: Path) -> None:
    receipt = settled()
    write_pdf(receipt, tmp_path / "receipt.pdf", font=font)
    said = read_pdf("pdfinfo", tmp_path / "receipt.pdf")
    size = re.search(r"Page size: +([\d.]+) x ([\d.]+) pts", said)
    assert size
    assert f"{float(size[1]) * POINT_MM:.2f}" == "80.00"
    assert float(size[2]) * POINT_MM == pytest.approx(10 + ROW_MM * len(receipt.text.splitlines()), abs=0.01)


def test_what_the_file_says_of_itself(system_font: Path, read_pdf: ReadPdf, tmp_path: Path) -> None:
    receipt = reversed_()
    write_pdf(receipt, tmp_path / "receipt.pdf", font=system_font)
    said = read_pdf("pdfinfo", tmp_path / "receipt.pdf", "-isodates")
    assert f"Title:           医保结算冲正单 {receipt.receipt_id}\n" in said
    assert re.search(r"CreationDate: +2026-11-24T16:40:40Z", said)
    assert "Author" not in said
    assert b"/Lang (zh-CN)" in (tmp_path / "receipt.pdf").read_bytes()
    fonts = read_pdf("pdffonts", tmp_path / "receipt.pdf").splitlines()[2:]
    assert [re.search(r"(yes|no) (yes|no) (yes|no) ", line)[0] for line in fonts] == ["yes yes yes "]  # type: ignore[index]
    assert len((tmp_path / "receipt.pdf").read_bytes()) < 100_000


def test_a_character_that_the_font_lacks_takes_its_place_and_no_more(
    font: Path, read_pdf: ReadPdf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [item(1, "\U0001f4a9\u0e01散", "A", 100), item(2, "六味散", "A", 100)]
    receipt = composed(patient="\U0010fffd*", lines=lines)
    write_pdf(receipt, tmp_path / "receipt.pdf", font=font)
    text = read_pdf("pdftotext", tmp_path / "receipt.pdf", "-layout")
    assert "姓名□*卡号" in solid(text)
    shown = msgspec.structs.replace(receipt, text=re.sub("[\U0001f4a9\U0010fffd\u0e01]", "□", receipt.text))
    assert "□□散" in shown.text
    for word in words(shown, read_pdf("pdftotext", tmp_path / "receipt.pdf", "-bbox")):
        assert word.right_mm <= MARGIN_MM + word.cells[1] * COLUMN_MM + 0.05
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def test_no_program_of_this_process_complains(font: Path, caplog: pytest.LogCaptureFixture) -> None:
    pdf_bytes(settled(), font=font)
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def test_a_receipt_longer_than_a_page_can_be(font: Path, read_pdf: ReadPdf, tmp_path: Path) -> None:
    receipt = composed(lines=[item(number, f"第{number}项", "A", number) for number in range(1, 1_301)])
    write_pdf(receipt, tmp_path / "receipt.pdf", font=font)
    said = read_pdf("pdfinfo", tmp_path / "receipt.pdf", "-l", "9")
    heights = [float(height) for height in re.findall(r"size: +[\d.]+ x ([\d.]+) pts", said)]
    assert len(heights) == 2
    assert max(heights) <= 14_400
    text = read_pdf("pdftotext", tmp_path / "receipt.pdf", "-layout")
    assert solid(text) == solid(receipt.text)


def test_a_text_of_one_row_is_not_laid_across(font: Path, read_pdf: ReadPdf, tmp_path: Path) -> None:
    write_pdf(msgspec.structs.replace(settled(), text="合计 1.00\n"), tmp_path / "receipt.pdf", font=font)
    assert re.search(r"Page size: +226\.77 x 38\.9\d pts", read_pdf("pdfinfo", tmp_path / "receipt.pdf"))


def test_the_same_receipt_gives_the_same_bytes(font: Path, tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_bytes(msgspec.json.encode(settled()))
    program = (
        "import sys, pathlib, msgspec;"
        "from terminal_sdk.receipt import pdf_bytes; from terminal_sdk.wire import Receipt;"
        "receipt = msgspec.json.decode(pathlib.Path(sys.argv[1]).read_bytes(), type=Receipt);"
        "sys.stdout.buffer.write(pdf_bytes(receipt, font=sys.argv[2]))"
    )
    one, other = (
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program, str(tmp_path / "receipt.json"), str(font)],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone},
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Shanghai"))
    )
    assert one == other == pdf_bytes(settled(), font=font)
    assert one != pdf_bytes(composed(visit_no="ORDER-2"), font=font)
