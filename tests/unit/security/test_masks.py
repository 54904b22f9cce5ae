"""Masked names and numbers."""

from __future__ import annotations

import pytest

from settlement.security.masks import mask_name, mask_number, mask_text


@pytest.mark.parametrize(
    ("name", "masked"),
    [("张三丰", "张**"), ("李", "*"), ("欧阳娜娜", "欧***"), ("Maria Lopez", "M**** L****"), ("", ""), ("  ", "")],
)
def test_mask_name(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("number", "masked"),
    [("11010119900307758X", "**************758X"), ("A12345678", "*****5678"), ("1234", "**34"), ("1", "*"), ("", "")],
)
def test_mask_number(number: str, masked: str) -> None:
    assert mask_number(number) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("人 11010119900307758x。", "人 **************758x。"),
        ("pan=6222020200112233445", "pan=***************3445"),
        ("visa 4111111111111111", "visa ************1111"),
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        # not personal: a time in ms, a date and time, a digest, a retrieval reference, an identifier
        ("1763939999999", "1763939999999"),
        ("20181231235959123", "20181231235959123"),
        ("ab11010119900307758X", "ab11010119900307758X"),
        ("123456789012", "123456789012"),
        ("019a0000-0000-7000-8000-000000000000", "019a0000-0000-7000-8000-000000000000"),
    ],
)
def test_mask_text(text: str, masked: str) -> None:
    assert mask_text(text) == masked
