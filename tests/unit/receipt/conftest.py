"""What the PDF tests need of the system: a font with Chinese glyphs, and the programs that read a PDF."""

from __future__ import annotations

import shutil
import string
import subprocess
from pathlib import Path

import pytest

from tests.support.receipts import EVERY_KIND
from tests.support.tools import ReadPdf, chinese_font, not_here


@pytest.fixture(scope="session")
def system_font() -> Path:
    """The file that the system has."""
    return chinese_font()


@pytest.fixture(scope="session")
def font(system_font: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same faces with no glyphs but those that these tests print: a large font takes half a second for each PDF."""
    from fontTools import subset
    from fontTools.ttLib import TTCollection

    printed = {each for make in EVERY_KIND.values() for each in make().text} | set(string.printable) | {"□"}
    for source in Path(__file__).parent.glob("test_*.py"):
        printed |= set(source.read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("fonts") / "few-glyphs.ttc"
    with TTCollection(system_font, lazy=True) as faces:
        for face in faces.fonts:
            maker = subset.Subsetter(subset.Options(name_IDs=["*"], name_languages=["*"], drop_tables=["FFTM"]))
            maker.populate(text="".join(printed))
            maker.subset(face)
        faces.save(path)
    return path


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
