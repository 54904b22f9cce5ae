"""A receipt as PDF: the printer's paper and grid, with a subset of a font in it, so that it looks alike everywhere."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from terminal_sdk.journal import sync_folder
from terminal_sdk.receipt.errors import FontMissing, PdfUnavailable
from terminal_sdk.receipt.fonts import Face, choose
from terminal_sdk.receipt.grid import WIDTH, columns, rows
from terminal_sdk.wire import Receipt

if TYPE_CHECKING:
    from fpdf import FPDF
    from fpdf.fonts import TTFFont

PAPER_MM = 80.0
COLUMN_MM = 1.5
"""The printer's grid at 203 dpi: 12 dots to a column, 30 to a row."""
ROW_MM = 3.75
MARGIN_MM = (PAPER_MM - WIDTH * COLUMN_MM) / 2
_TOP_MM = 5.0
_LETTER_MM = 2 * COLUMN_MM
_BASELINE_MM = 2.8
_ROWS_OF_A_PAGE = 1_300
"""A page of PDF 1.x is at most 14400 points (5080 mm) long; longer receipts go on to another page."""
_FAMILY = "receipt"
_SUBSTITUTES = "□?"
"""What stands for a character that the font lacks; the question mark every font has."""


def pdf_bytes(receipt: Receipt, *, font: str | Path | None = None) -> bytes:
    """The receipt's text as PDF: 80 mm wide, as long as the text, on a grid of 48 columns whatever the font's metrics.

    ``font``: a TrueType or OpenType file (or collection) with Chinese glyphs; without it, one is looked for in
    ``fonts.PLACES``. A subset of it is embedded. A character that the font lacks is shown as ``□``. The same receipt,
    font and version of fpdf2 give the same bytes. It takes some half a second of computing: an asynchronous program
    calls it in a thread.

    Raises ``PdfUnavailable`` (fpdf2 is not installed) and ``FontMissing``.
    """
    document = _document(receipt)
    sheet = _Sheet(document, choose(font))
    lines = rows(receipt.text)
    for first in range(0, len(lines), _ROWS_OF_A_PAGE):
        sheet.add_page(lines[first : first + _ROWS_OF_A_PAGE])
    return bytes(document.output())


def write_pdf(receipt: Receipt, path: str | Path, *, font: str | Path | None = None) -> None:
    """Write ``pdf_bytes`` to ``path``: whole or not at all, durable, readable by its owner alone.

    Raises ``PdfUnavailable``, ``FontMissing`` and, where the file cannot be written, ``OSError``.
    """
    content = pdf_bytes(receipt, font=font)
    path = Path(path)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _document(receipt: Receipt) -> FPDF:
    try:
        from fpdf import FPDF
    except ImportError as error:
        raise PdfUnavailable from error

    document = FPDF(unit="mm", format=(PAPER_MM, PAPER_MM))
    document.set_auto_page_break(False)
    document.set_title(f"{'医保结算冲正单' if receipt.kind == 'reversal' else '医保结算单'} {receipt.receipt_id}")
    document.set_lang("zh-CN")
    document.set_creator("settlement-terminal-sdk")
    document.set_creation_date(receipt.issued_at)  # the document's id is made from it, and from the content
    return document


@dataclass(frozen=True, slots=True)
class _Glyph:
    """How a character is drawn in its cell: ``indent_mm`` from the cell's left side, ``stretching`` in percent."""

    character: str
    stretching: float
    indent_mm: float


class _Sheet:
    """The document with its font: draws rows on the grid."""

    def __init__(self, document: FPDF, face: Face) -> None:
        self._document = document
        self._glyphs: dict[str, _Glyph] = {}
        try:
            document.add_font(_FAMILY, fname=face.path, collection_font_number=face.number)
        except (KeyError, NotImplementedError) as error:  # a table that fpdf2 needs and the font has not
            raise FontMissing(f"the font {face.path} cannot be embedded") from error
        self._font = cast("TTFFont", document.fonts[_FAMILY])
        document.set_font(_FAMILY, size=_LETTER_MM * document.k)

    def add_page(self, lines: list[str]) -> None:
        self._document.add_page(format=(PAPER_MM, 2 * _TOP_MM + len(lines) * ROW_MM))
        for number, line in enumerate(lines):
            self._draw(line, _TOP_MM + number * ROW_MM + _BASELINE_MM)

    def _draw(self, line: str, baseline_mm: float) -> None:
        x_mm = MARGIN_MM
        for each in line:
            if not each.isspace():
                glyph = self._glyph(each)
                self._document.set_stretching(glyph.stretching)
                self._document.text(x_mm + glyph.indent_mm, baseline_mm, glyph.character)
            x_mm += columns(each) * COLUMN_MM

    def _glyph(self, character: str) -> _Glyph:
        """In the middle of the cell, narrowed where the font makes it wider than that."""
        known = self._glyphs.get(character)
        if known is None:
            shown = next(each for each in (character, *_SUBSTITUTES) if ord(each) in self._font.cmap)
            cell_mm = columns(character) * COLUMN_MM
            width_mm = self._font.cw[ord(shown)] / 1000 * _LETTER_MM
            drawn_mm = min(width_mm, cell_mm)
            known = _Glyph(shown, 100 * drawn_mm / width_mm if width_mm else 100, (cell_mm - drawn_mm) / 2)
            self._glyphs[character] = known
        return known
