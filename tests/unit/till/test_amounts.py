"""Yuan become fen exactly, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal_sdk.cli.amounts import AmountInvalid, fen_of, yuan_of
from terminal_sdk.wire import MAX_FEN


@given(st.integers(min_value=0, max_value=MAX_FEN))
def test_there_and_back_without_loss(fen: int) -> None:
    assert fen_of(yuan_of(fen)) == fen


@pytest.mark.parametrize(("yuan", "fen"), [("0.00", 0), ("0.05", 5), ("24.50", 2450), ("1000000000.00", MAX_FEN)])
def test_exact(yuan: str, fen: int) -> None:
    assert fen_of(yuan) == fen
    assert yuan_of(fen) == yuan


@pytest.mark.parametrize(
    "text",
    [
        *("", "24", "24.5", "24.500", "-1.00", "+1.00", " 1.00", "1.00\n", "1.00 ", "1,000.00", "01.00", ".50", "1."),
        *("1e2", "NaN", "¥1.00", "１.００", "1000000000.01", "99999999999.00"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(AmountInvalid):
        fen_of(text)


def test_less_than_nothing_is_shown_with_a_sign() -> None:
    assert [yuan_of(fen) for fen in (-5, -105)] == ["-0.05", "-1.05"]
