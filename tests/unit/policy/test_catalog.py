"""The catalog: items by day, and mistakes in its file named with their line."""

from __future__ import annotations

import datetime as dt

import pytest

from settlement.policy.catalog import COLUMNS, CatalogError, Item, read_catalog

HEADER = ",".join(COLUMNS) + "\n"


def test_an_item_is_found_as_it_stood_on_the_day() -> None:
    seen: list[int] = []
    catalog = read_catalog(
        [
            HEADER,
            "X1,阿莫西林,乙,0.10,12.50,2018-01-01,2018-12-31\n",
            "X1,阿莫西林,甲,,,2019-01-01,\n",
            "X2,床位,丙,,,2018-01-01,\n",
        ],
        seen.append,
    )
    assert len(catalog) == sum(seen) == 3
    assert catalog.find("X1", dt.date(2017, 12, 31)) is None
    assert catalog.find("X1", dt.date(2018, 12, 31)) == Item(
        "X1", "阿莫西林", "B", 1_000, 1_250, dt.date(2018, 1, 1), dt.date(2018, 12, 31)
    )
    newer = catalog.find("X1", dt.date(2030, 1, 1))
    assert newer is not None
    assert (newer.category, newer.share, newer.ceiling_fen, newer.valid_to) == ("A", 0, None, None)
    assert catalog.find("X3", dt.date(2018, 1, 1)) is None


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("X1,药,丁,,,2018-01-01,", "class must be 甲, 乙 or 丙"),
        ("X1,药,乙,,,2018-01-01,", "self_paid_share must be a ratio"),
        ("X1,药,甲,0.1,,2018-01-01,", "empty for the others"),
        ("X1,药,乙,1.2,,2018-01-01,", "from 0 to 1"),
        ("X1,药,甲,,12.5,2018-01-01,", "price_ceiling must be yuan"),
        ("X1,药,甲,,,2018-02-30,", "from must be a date"),
        ("X1,药,甲,,,2018-01-02,2018-01-01", "to must be a date not before from"),
        (",药,甲,,,2018-01-01,", "code must be"),
        ("X1, ,甲,,,2018-01-01,", "name must be"),
        ("X1,药,甲,,", "there must be 7 fields"),
        ("X0,药,甲,,,2018-01-01,", "X0 is there already"),
        ("X0,药,甲,,,2017-01-01,2018-01-01", "X0 is there already"),
    ],
)
def test_a_mistake_is_named_with_its_line(row: str, what: str) -> None:
    with pytest.raises(CatalogError) as error:
        read_catalog([HEADER, "X0,药,甲,,,2018-01-01,\n", row + "\n"])
    assert str(error.value).startswith("line 3: ")
    assert what in str(error.value)


def test_a_version_without_an_end_holds_until_the_next() -> None:
    catalog = read_catalog([HEADER, "X1,药,丙,,,2019-07-01,2019-12-31\n", "X1,药,甲,,,2018-01-01,\n"])
    found = [catalog.find("X1", day) for day in (dt.date(2019, 6, 30), dt.date(2019, 7, 1), dt.date(2020, 1, 1))]
    assert [item and item.category for item in found] == ["A", "C", None]


def test_another_header_is_refused() -> None:
    with pytest.raises(CatalogError, match="line 1: the header must be code,name,class"):
        read_catalog(["code;name\n"])
