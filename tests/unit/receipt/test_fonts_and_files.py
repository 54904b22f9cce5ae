"""Where fpdf2 or a font is missing or a file cannot be written, the till is told what to do, and printing goes on."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from pathlib import Path

import pytest

from terminal_sdk import TerminalError
from terminal_sdk.receipt import FontMissing, fonts, pdf_bytes, write_pdf
from tests.support.receipts import reversed_, settled


def test_without_fpdf2_the_extra_is_named_and_the_printer_works() -> None:
    program = """
import sys
sys.modules["fpdf"] = None
sys.modules["fontTools"] = None
from tests.support.receipts import settled
from terminal_sdk.receipt import PdfUnavailable, pdf_bytes, to_printer
assert to_printer(settled())
try:
    pdf_bytes(settled())
except PdfUnavailable as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[3],
    ).stdout
    assert said == 'PDF needs fpdf2, which is not installed: pip install "settlement-terminal-sdk[pdf]"\n'


def test_no_font_on_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "PLACES", (str(tmp_path / "none.ttc"),))
    with pytest.raises(FontMissing, match=r"was found; .*fonts-wqy-microhei.* with font=") as error:
        write_pdf(settled(), tmp_path / "receipt.pdf")
    assert isinstance(error.value, TerminalError)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_used_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, font: Path
) -> None:
    (tmp_path / "damaged.ttc").write_bytes(b"ttcf" + bytes(60))
    monkeypatch.setattr(fonts, "PLACES", (str(tmp_path / "damaged.ttc"), str(font)))
    assert pdf_bytes(settled()) == pdf_bytes(settled(), font=font)


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (None, "absent.ttf", r"cannot be read: No such file or directory"),
        (b"%PDF-1.4", "receipt.pdf", r"is not named like a TrueType or OpenType font \(\.otc, \.otf, \.ttc, \.ttf\)"),
        (b"", "empty.ttf", r"is damaged, or of a kind that cannot be used"),
        (b"ttcf", "short.ttc", r"is damaged, or of a kind that cannot be used"),
        (b"\0\1\0\0" + b"\xff" * 64, "noise.ttf", r"is damaged, or of a kind that cannot be used"),
    ],
)
def test_a_file_that_is_no_font(content: bytes | None, name: str, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FontMissing, match=problem):
        pdf_bytes(settled(), font=tmp_path / name)


def test_a_folder_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "folder.ttf").mkdir()
    with pytest.raises(FontMissing, match="cannot be read: Is a directory"):
        pdf_bytes(settled(), font=tmp_path / "folder.ttf")


def only(font: Path, characters: str, path: Path) -> Path:
    """A small font, of these characters alone."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    face = TTFont(font, fontNumber=0)
    maker = subset.Subsetter()
    maker.populate(text=characters)
    maker.subset(face)
    face.save(path)
    return path


@pytest.fixture(scope="session")
def small_font(font: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return only(font, "医保结算单0.-", tmp_path_factory.mktemp("small") / "small.ttf")


def test_a_font_without_chinese(font: Path, tmp_path: Path) -> None:
    latin = only(font, string.printable, tmp_path / "latin.ttf")
    with pytest.raises(FontMissing, match="has no Chinese glyphs"):
        pdf_bytes(settled(), font=latin)


def test_a_font_that_was_replaced_is_looked_at_anew(font: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.ttc"
    mine.write_bytes(font.read_bytes())
    assert pdf_bytes(settled(), font=mine)
    mine.write_bytes(b"")
    with pytest.raises(FontMissing):
        pdf_bytes(settled(), font=mine)


def test_a_file_is_replaced_as_a_whole_and_is_its_owners(font: Path, tmp_path: Path) -> None:
    path = tmp_path / "receipt.pdf"
    path.write_bytes(b"yesterday's")
    with path.open("rb") as reading:
        write_pdf(reversed_(), str(path), font=str(font))
        assert reading.read() == b"yesterday's"
    assert path.read_bytes() == pdf_bytes(reversed_(), font=font)
    assert [each.name for each in tmp_path.iterdir()] == ["receipt.pdf"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_nothing_behind(font: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_pdf(settled(), tmp_path / "taken", font=font)
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["Song", "Song Mono"], 1),
        (["Sans CJK JP", "Sans CJK SC", "Sans Mono CJK JP", "Sans Mono CJK SC", "Sans Mono CJK TC"], 3),
        (["Square HK Regular", "Square SC Thin", "Square SC Regular", "Square SC Bold"], 2),
        (["Hei", "Hei UI"], 0),
    ],
)
def test_the_face_of_a_collection(names: list[str], best: int, small_font: Path, tmp_path: Path) -> None:
    from fontTools.ttLib import TTCollection, TTFont

    collection = TTCollection()
    for name in names:
        member = TTFont(small_font)
        member["name"].names = []
        member["name"].setName(name, 4, 3, 1, 0x409)
        collection.fonts.append(member)
    collection.save(tmp_path / "several.ttc")
    assert fonts.choose(tmp_path / "several.ttc").number == best
