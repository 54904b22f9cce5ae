"""The reference page is what the code says; changing the code without the page fails here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settlement.api.operations import OPERATIONS
from settlement.api.reference import UnknownPart, error_table, main, renewed
from settlement.errors import CATALOGUE

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "terminal-api.md"


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page), "run: python -m settlement.api.reference docs/reference/terminal-api.md"


def test_every_code_is_in_the_table_once() -> None:
    codes = re.findall(r"^\| `([A-Z_0-9]+)` \| (\d+) \|", error_table(), re.MULTILINE)
    assert codes == [(code, str(status)) for code, (status, _) in CATALOGUE.items()]


def test_every_operation_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for operation in OPERATIONS:
        assert f"`{operation.method} {operation.path}`" in page


def test_a_stale_part_is_replaced_and_an_unknown_one_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- generated: errors -->\nold\n<!-- end of generated part -->\nz\n", encoding="utf-8")
    main([str(page)])
    assert page.read_text(encoding="utf-8") == (
        f"a\n<!-- generated: errors -->\n\n{error_table()}\n<!-- end of generated part -->\nz\n"
    )
    with pytest.raises(UnknownPart):
        renewed("<!-- generated: nothing -->\n<!-- end of generated part -->")
