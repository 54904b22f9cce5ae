"""`settlement policy`: plans listed, bills explained line by line, mistakes told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from settlement.cli.main import main
from settlement.policy.planfile import SHIPPED

BILL: dict[str, Any] = {
    "plan": "employees",
    "service_date": "2018-10-08",
    "visit_type": "outpatient",
    "institution_level": 3,
    "person": {"status": "working", "born_on": "1980-05-01"},
    "balances": {"current_year": "100.00", "carried_over": "50.00"},
    "counted": {"covered": "1400.00"},
    "lines": [
        {"line_no": 1, "item_code": "X1", "amount": "300.00"},
        {"line_no": 2, "item_code": "X2", "amount": "200.00", "quantity": "2"},
        {"line_no": 3, "class": "C", "amount": "80.00"},
    ],
}
STAY: dict[str, Any] = {
    **BILL,
    "visit_type": "inpatient",
    "counted": {"covered": "600000.00", "pooled_fund": "509000.00"},
    "lines": [{"line_no": 1, "amount": "30000.00"}],
}
CHILD: dict[str, Any] = {
    "plan": "minors",
    "service_date": "2019-10-08",
    "visit_type": "outpatient",
    "institution_level": 1,
    "person": {"status": "minor", "born_on": "2010-05-01"},
    "lines": [{"line_no": 1, "amount": "1000.00", "class": "B"}],
}
CATALOG = (
    "code,name,class,self_paid_share,price_ceiling,from,to\n"
    "X1,阿莫西林,甲,,,2018-01-01,\nX2,进口药,乙,0.20,80.00,2018-01-01,2019-12-31\n"
)


def run(*arguments: str | Path, stdin: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["policy", *map(str, arguments)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def explained(bill: dict[str, Any], *arguments: str | Path) -> list[tuple[str, ...]]:
    code, out, _ = run("explain", "-", *arguments, stdin=json.dumps(bill))
    assert code == 0, out
    return [tuple(line.split()) for line in out.splitlines()]


def test_every_band_of_a_bill_is_shown_with_its_rule(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text(CATALOG, encoding="utf-8")
    words = explained(BILL, "--catalog", catalog)
    assert words[0][:3] == ("plan", "employees", "2018,")
    assert words[1][:2] == ("group", "working_44,")
    assert [line[:3] for line in words[5:15]] == [
        ("1", "account_first", "100.00"),
        ("1", "outpatient/working_44/deductible", "50.00"),
        ("1", "outpatient/working_44/deductible", "50.00"),
        ("1", "outpatient/working_44/additional_fund", "50.00"),
        ("1", "outpatient/working_44/additional_fund", "50.00"),
        ("2", "above_price_ceiling", "40.00"),
        ("2", "self_paid_share", "32.00"),
        ("2", "outpatient/working_44/additional_fund", "64.00"),
        ("2", "outpatient/working_44/additional_fund", "64.00"),
        ("3", "own_expense", "80.00"),
    ]
    assert ("total", "580.00") in words


def test_a_stay_that_reaches_the_ceiling_and_a_childs_visit() -> None:
    stay = explained(STAY)
    assert ("1", "inpatient/working/pooled_fund", "1000.00", "pooled", "fund", "统筹基金") in stay
    assert ("1", "inpatient/working/above_ceiling", "23058.82", "additional", "fund", "附加基金") in stay
    child = explained(CHILD)
    assert ("1", "self_paid_share", "100.00", "bank", "account", "银行卡") in child
    assert ("1", "outpatient/minor/pooled_fund", "420.00", "pooled", "fund", "统筹基金") in child


def test_json_says_the_same_in_fen() -> None:
    code, out, _ = run("explain", "-", "--json", stdin=json.dumps(STAY))
    found = json.loads(out)
    assert code == 0
    assert found["paid_fen"]["pooled_fund"] == 100_000
    assert found["total_fen"] == sum(found["paid_fen"].values()) == 3_000_000
    assert sum(part["amount_fen"] for part in found["parts"]) == 3_000_000


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"plan": "sailors"}, "there is no plan sailors for 2018-10-08"),
        ({"service_date": "2010-01-01"}, "there is no plan employees for 2010-01-01"),
        ({"person": {"status": "resident", "born_on": "1980-05-01"}}, "has no group for this person (resident)"),
        ({"visit_type": "hotel"}, "Invalid enum value 'hotel' - at `$.visit_type`"),
        ({"institution_level": 4}, "$.institution_level"),
        ({"lines": []}, "length >= 1 - at `$.lines`"),
        ({"lines": [{"line_no": 1, "amount": "3.0"}]}, "$.lines[0].amount"),
        ({"lines": [{"line_no": 1, "amount": 300}]}, "$.lines[0].amount"),
        ({"lines": [{"line_no": 1, "amount": "3.00"}] * 2}, "a line_no stands there twice"),
        ({"lines": [{"line_no": 1, "amount": "3.00", "class": "D"}]}, "$.lines[0].class"),
        ({"balance": {}}, "unknown field `balance`"),
    ],
)
def test_a_bill_that_cannot_be_judged_is_told_in_a_line(change: dict[str, Any], what: str) -> None:
    code, out, err = run("explain", "-", stdin=json.dumps({**BILL, **change}))
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert what in err
    assert err.count("\n") == 1


def test_plans_are_checked_and_listed(tmp_path: Path) -> None:
    code, out, _ = run("check")
    assert code == 0
    assert len(out.splitlines()) == len(list(SHIPPED.glob("*.toml")))
    text = (SHIPPED / "employees-2019.toml").read_text(encoding="utf-8")
    (tmp_path / "employees-2020.toml").write_text(text.replace('1 = "0.65"', '1 = "1.2"'), encoding="utf-8")
    code, out, err = run("check", "--plans", tmp_path)
    assert (code, out) == (1, "")
    assert "employees-2020.toml, line " in err
    assert "rule outpatient/working_44: ratio must be from" in err


def test_a_changed_ratio_of_next_year_is_tried_out_before_it_is_in_force(tmp_path: Path) -> None:
    text = (SHIPPED / "employees-2018.toml").read_text(encoding="utf-8")
    (tmp_path / "employees.toml").write_text(text.replace('3 = "0.50"', '3 = "0.55"'), encoding="utf-8")
    bill = {**BILL, "balances": {}, "counted": {"covered": "1500.00"}, "lines": [{"line_no": 1, "amount": "100.00"}]}
    assert explained(bill)[5][2] == "50.00"
    assert explained(bill, "--plans", tmp_path)[5][2] == "55.00"
