"""What fits into a row, and where it breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal_sdk.receipt.grid import WIDTH, columns, rows, wrap

TEXT = st.text(alphabet="ab1. 中文×é", max_size=80)


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc", 3), ("中文", 4), ("a×é", 5), ("𠮷", 2), ("，", 2)])
def test_columns(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("two words here", ["two words", "here"]),
        ("中文中文中文", ["中文中文中", "文"]),
        ("a中文中文中", ["a中文中文", "中"]),
        ("剂量0.25mg", ["剂量0.25mg"]),
        ("剂量每0.25mg", ["剂量每", "0.25mg"]),
        ("abcdefghijklmn", ["abcdefghij", "klmn"]),
        ("0123456789 tail", ["0123456789", "tail"]),
    ],
)
def test_where_it_breaks(text: str, pieces: list[str]) -> None:
    assert wrap(text, 10) == pieces


def test_the_first_piece_may_have_less_room() -> None:
    assert wrap("中文中文中文中", 10, first=4) == ["中文", "中文中文中"]


@given(TEXT, st.integers(2, 20))
def test_no_piece_is_wider_and_no_character_is_lost(text: str, width: int) -> None:
    pieces = wrap(text, width)
    assert max(columns(piece) for piece in pieces) <= width
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_rows_of_a_text_that_does_not_fit_or_would_command_the_printer() -> None:
    assert rows("合计\n" + "9" * 50 + "\n\x1bp\x00\u2028end\n") == ["合计", "9" * WIDTH, "99", "?p?\u2028end"]
