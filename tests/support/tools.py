"""Programs and files of the system that some tests need."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

ReadPdf = Callable[..., str]
"""``read_pdf("pdftotext", path, "-layout")`` → what the program of poppler says of the file."""


def not_here(reason: str) -> NoReturn:
    """Skip, or fail where everything should be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
