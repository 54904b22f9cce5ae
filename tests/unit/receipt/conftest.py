"""What the PDF tests need of the system: a font with Chinese glyphs, and the programs that read a PDF."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import ReadPdf, chinese_font, not_here


@pytest.fixture(scope="session")
def font() -> Path:
    """The file that the system has."""
    return chinese_font()


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
