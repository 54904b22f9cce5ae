"""What another version would change: the same amounts as judging each bill by hand, carried from bill to bill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from settlement.cli.main import main
from settlement.policy.planfile import SHIPPED

OLD = SHIPPED / "employees-2018.toml"
WORKING = {"status": "working", "born_on": "1980-05-01"}
RETIRED = {"status": "retired", "born_on": "1950-05-01", "retired_on": "2010-05-01"}


def bill(person_id: str, day: str, amount: str, covered: str, **changes: Any) -> dict[str, Any]:
    return {
        "person_id": person_id,
        "plan": "employees",
        "service_date": day,
        "visit_type": "outpatient",
        "institution_level": 3,
        "person": WORKING,
        "counted": {"covered": covered},
        "lines": [{"line_no": 1, "amount": amount}],
        **changes,
    }


BILLS = [
    bill("a", "2018-10-01", "1000.00", "0.00"),
    bill("a", "2018-11-01", "1000.00", "1000.00", visit_type="emergency"),
    bill("b", "2018-10-01", "100.00", "2000.00"),
    bill("c", "2018-10-01", "100.00", "2000.00", person=RETIRED),
    bill("d", "2018-10-01", "100.00", "0.00", visit_type="pharmacy", counted={}),
    bill("e", "2018-10-01", "300.00", "0.00", balances={"carried_over": "500.00"}),
    bill("e", "2018-10-02", "400.00", "300.00", balances={"carried_over": "200.00"}),
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A version with a deductible of 700 for the young, and 60 % instead of 50 % at level 3; the bills."""
    text = OLD.read_text(encoding="utf-8")
    young, rest = text.split('name = "outpatient/working_45"', 1)
    young = young.replace('"1500.00"', '"700.00"').replace('3 = "0.50"', '3 = "0.60"').replace('"2018"', '"2018b"', 1)
    new, bills = tmp_path / "new.toml", tmp_path / "bills.jsonl"
    new.write_text(young + 'name = "outpatient/working_45"' + rest, encoding="utf-8")
    bills.write_text("\n".join(map(json.dumps, BILLS)) + "\n", encoding="utf-8")
    return new, bills


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["policy", "diff", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_fen_and_persons_are_those_worked_out_by_hand(files: tuple[Path, Path]) -> None:
    new, bills = files
    code, out, _ = run(OLD, new, "--bills", bills, "--json")
    assert code == 0
    found = json.loads(out)
    # a: 1000 then 1000. Old: all deductible; 500 deductible and 500 shared by half. New: 300 and 1000 shared, 60 %.
    # b: 100 shared: 50, then 60. e: 700 in all is deductible under both, and the carried-over account pays 500 of it.
    assert found["old_fen"]["additional_fund"] == 25_000 + 5_000 + 7_000
    assert found["new_fen"]["additional_fund"] == 18_000 + 60_000 + 6_000 + 7_000
    assert found["old_fen"]["carried_over"] == found["new_fen"]["carried_over"] == 50_000
    assert sum(found["old_fen"].values()) == sum(found["new_fen"].values()) == 300_000
    assert (found["bills"], found["bills_changed"]) == (7, 3)
    assert (found["persons"], found["persons_touched"]) == (5, 2)
    assert (found["persons_pay_more"], found["persons_pay_less"]) == (0, 2)


def test_a_deductible_of_each_stay_is_not_carried_to_the_next_and_a_year_begins_anew(tmp_path: Path) -> None:
    old = SHIPPED / "residents-2018.toml"
    new, bills = tmp_path / "new.toml", tmp_path / "bills.jsonl"
    text = old.read_text(encoding="utf-8")
    new.write_text(text.replace('3 = "300.00"', '3 = "400.00"').replace('"500.00"', '"600.00"'), encoding="utf-8")
    resident = {"plan": "residents", "person": {"status": "resident", "born_on": "1980-05-01"}, "counted": {}}
    stay = {**resident, "visit_type": "inpatient"}
    rows = [
        bill("a", "2018-10-01", "1000.00", "0.00", **stay),
        bill("a", "2018-12-01", "1000.00", "0.00", **stay),
        # Under the old plan these two use the deductible of 500 up, one in each insurance year; the new one wants 600.
        bill("b", "2019-03-31", "550.00", "0.00", **resident),
        bill("b", "2019-04-01", "550.00", "0.00", **resident),
    ]
    bills.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, _ = run(old, new, "--bills", bills, "--json")
    found = json.loads(out)
    assert code == 0
    # Each stay: 60 % of 700, then of 600. Each visit: half of 50, then nothing, for the counter never gets to 600.
    assert found["old_fen"]["pooled_fund"] == 2 * 42_000 + 2 * 2_500
    assert found["new_fen"]["pooled_fund"] == 2 * 36_000


def test_the_same_version_changes_nothing(files: tuple[Path, Path]) -> None:
    _, bills = files
    code, out, _ = run(OLD, OLD, "--bills", bills)
    assert code == 0
    assert out.splitlines()[:2] == [
        "7 bills of 5 persons; 0 bills change",
        "0 persons are touched: 0 pay more of their own, 0 less",
    ]


def test_the_page_draws_what_the_table_says(files: tuple[Path, Path], tmp_path: Path) -> None:
    new, bills = files
    code, out, _ = run(OLD, new, "--bills", bills, "--html", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert code == 0
    assert "-540.00" in out
    assert html.count("<svg") == 2
    assert "+540.00" in html
    assert "-540.00" in html
    assert "2 bills change" not in html
    assert "3 bills change, of 2 persons: 0 pay more of their own, 2 less" in html


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "bills.jsonl, line 8"),
        (
            json.dumps({**BILLS[0], "person": {"status": "minor", "born_on": "2010-01-01"}}),
            "says nothing of the bill of a",
        ),
        (json.dumps({**BILLS[0], "visit_type": "hotel"}), "Invalid enum value 'hotel'"),
        (json.dumps({key: value for key, value in BILLS[0].items() if key != "person_id"}), "person_id"),
    ],
)
def test_a_bill_that_cannot_be_judged_is_named(files: tuple[Path, Path], line: str, what: str) -> None:
    new, bills = files
    with bills.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    code, out, err = run(OLD, new, "--bills", bills)
    assert (code, out) == (1, "")
    assert what in err


def test_a_plan_file_that_is_wrong_is_refused(files: tuple[Path, Path]) -> None:
    new, bills = files
    new.write_text(new.read_text(encoding="utf-8").replace('3 = "0.60"', '3 = "6"'), encoding="utf-8")
    code, _, err = run(OLD, new, "--bills", bills)
    assert code == 1
    assert "new.toml, line " in err
