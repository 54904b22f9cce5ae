"""What is on the bills: made-up items with prices, put together by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence

from terminal_sdk.wire import Category, FeeLine

Item = tuple[str, str, Category, int]
"""Code, name, catalog class, price in fen."""

EXAMINATIONS: tuple[Item, ...] = (
    ("FC01001", "血常规检查", "A", 2_000),
    ("FC01002", "尿常规检查", "A", 1_200),
    ("FC02002", "胸部CT平扫", "B", 28_000),
    ("FC02003", "腹部彩超", "B", 12_000),
    ("FZ01001", "普通门诊诊查费", "A", 2_500),
)
MEDICINES: tuple[Item, ...] = (
    ("XA01001", "阿莫西林胶囊", "A", 2_450),
    ("XB02002", "阿托伐他汀钙片", "B", 5_680),
    ("XA03003", "二甲双胍缓释片", "A", 3_120),
    ("XB04004", "苯磺酸氨氯地平片", "B", 3_860),
)
OWN_EXPENSE: tuple[Item, ...] = (("ZC09009", "进口营养补充剂", "C", 16_800), ("ZC09010", "医用敷料", "C", 1_980))
"""Class C: no insurance pays for it, so a bill with such a line asks the bank."""


def lines_of(chance: random.Random, *groups: tuple[Sequence[Item], int]) -> tuple[FeeLine, ...]:
    """Fee lines by chance: from each group (items, how many at most) at least one."""
    items = [item for group, most in groups for item in chance.sample(group, chance.randint(1, most))]
    return tuple(
        FeeLine(line_no=number, item_code=code, item_name=name, category=category, amount_fen=amount_fen)
        for number, (code, name, category, amount_fen) in enumerate(items, start=1)
    )


def happens(chance: random.Random, percent: int) -> bool:
    """Whether something that happens so often happens this time."""
    return chance.randrange(100) < percent
