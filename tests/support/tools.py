"""Programs and files of the system that some tests need."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from terminal_sdk.receipt import FontMissing
from terminal_sdk.receipt.fonts import choose

ReadPdf = Callable[..., str]
"""``read_pdf("pdftotext", path, "-layout")`` → what the program of poppler says of the file."""


def not_here(reason: str) -> NoReturn:
    """Skip, or fail where everything should be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def chinese_font() -> Path:
    """The file of the system's font with Chinese glyphs."""
    try:
        return choose(None).path
    except FontMissing:
        not_here("needs a font with Chinese glyphs: apt-get install fonts-wqy-microhei")
