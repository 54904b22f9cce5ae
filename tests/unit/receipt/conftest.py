"""What the PDF tests need of the system: a font with Chinese glyphs, and the programs that read a PDF."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from terminal_sdk.receipt import FontMissing
from terminal_sdk.receipt.fonts import choose
from tests.support.tools import ReadPdf, not_here


@pytest.fixture(scope="session")
def font() -> Path:
    """The file that the system has."""
    try:
        return choose(None).path
    except FontMissing:
        not_here("needs a font with Chinese glyphs: apt-get install fonts-wqy-microhei")


@pytest.fixture(scope="session")
def read_pdf() -> ReadPdf:
    """Runs a program of poppler-utils on a file."""
    if shutil.which("pdftotext") is None:
        not_here("needs pdftotext: apt-get install poppler-utils")

    def read(program: str, path: Path, *options: str) -> str:
        output = ["-"] if program == "pdftotext" else []
        return subprocess.run(
            [program, *options, str(path), *output], check=True, capture_output=True, encoding="utf-8"
        ).stdout

    return read
