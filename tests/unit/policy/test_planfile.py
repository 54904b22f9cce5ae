"""Plan files that are wrong are refused with file, line and rule."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from settlement.policy.plan import Person
from settlement.policy.planfile import SHIPPED, PlanError, load_plan, load_plans, parse_plan

TEXT = (SHIPPED / "employees-2018.toml").read_text(encoding="utf-8")


def line_of(text: str, nth: int = 1) -> int:
    """Where a text stands in the plan, for the nth time."""
    found = [number for number, line in enumerate(TEXT.splitlines(), 1) if text in line]
    return found[nth - 1]


def refusal(old: str, new: str) -> str:
    """How the plan is refused with a text changed, where it stands first."""
    assert old in TEXT
    with pytest.raises(PlanError) as error:
        parse_plan(TEXT.replace(old, new, 1), "p.toml")
    return str(error.value)


def test_the_shipped_plans_are_good_and_do_not_overlap() -> None:
    plans = load_plans()
    assert [(plan.code, plan.version) for plan in plans] == [
        ("employees", "2018"),
        ("employees", "2019"),
        ("minors", "2018"),
        ("minors", "2019"),
        ("residents", "2018"),
        ("residents", "2019"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "place", "what"),
    [
        ('from = "1500.00"', 'from = "1600.00"', ('from = "1500.00"', 1), "rule outpatient/working_44: a gap before"),
        ('from = "1500.00"', 'from = "1400.00"', ('from = "1500.00"', 1), "an overlap before"),
        ('1 = "0.65"', '1 = "1.2"', ('1 = "0.65"', 1), "ratio must be from"),
        ('2 = "0.60"', '2 = "0.123456"', ('2 = "0.60"', 1), "ratio must be from"),
        ('2 = "0.60", ', "", ('2 = "0.60"', 1), "names levels 1, 2 and 3"),
        ('ratio = "0.85"', "ratio = 0.85", ('ratio = "0.85"', 1), "in quotes, not 0.85"),
        ('ratio = "0.85"\n', "", ('name = "pooled_fund"', 1), "fund and ratio go together"),
        ('fund = "additional_fund"', 'fund = "other_fund"', ('fund = "additional_fund"', 1), "there are pooled_fund"),
        ('rest = ["carried_over"]', 'rest = ["savings"]', ('rest = ["carried_over"]', 1), "unknown 'savings'"),
        ('to = "1500.00"', 'to = "1500"', ('to = "1500.00"', 1), "yuan with two decimals"),
        ('to = "1500.00"', "to = 1500", ('to = "1500.00"', 1), "yuan with two decimals"),
        ('groups = ["working_44"]', 'groups = ["worker"]', ('groups = ["working_44"]', 1), "unknown 'worker'"),
        ('visits = ["inpatient"]', 'visits = ["hotel"]', ('visits = ["inpatient"]', 1), "unknown 'hotel'"),
        ('status = "retired"', 'status = "ill"', ('status = "retired"', 1), "there are working"),
        ("age_from = 70", 'age_from = "70"', ("age_from = 70", 1), "whole number of years"),
        ('code = "retired_70"', 'code = "retired_by_2000"', ('code = "retired_70"', 1), "is there already"),
        ("from = 2018-04-01", 'from = "2018-04-01"', ("from = 2018-04-01", 1), "must be a date"),
        ("to = 2019-06-30", "to = 2017-06-30", ("to = 2019-06-30", 1), "lies before from"),
        ('year_starts = "04-01"', 'year_starts = "April"', ('year_starts = "04-01"', 1), "a month and a day"),
        ("last_year = 2018", 'last_year = "2018"', ("last_year = 2018", 1), "a year that has begun by"),
        ("last_year = 2018", "last_year = 2016", ("last_year = 2018", 1), "a year that has begun by"),
        ('counts = "inpatient"\n', "", ('name = "inpatient/working"', 1), "bands that end need a counter"),
        ('default_share_b = "0.10"', 'default_share_b = "10"', ("default_share_b", 1), "default_share_b must be from"),
        ('source = "', 'sauce = "', ('source = "', 1), "unknown key sauce"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, place: tuple[str, int], what: str) -> None:
    told = refusal(old, new)
    assert what in told
    if not new and old.endswith("\n"):
        assert "p.toml, line " in told
    else:
        assert f"p.toml, line {line_of(*place)}" in told


def test_a_visit_without_a_rule_for_a_group_is_refused() -> None:
    told = refusal('groups = ["retired_by_2000"]\nfirst', 'groups = ["retired_70"]\nfirst')
    assert (
        "rule outpatient/retired_by_2000: outpatient, retired_70, level 1 is ruled by outpatient/retired_70 already"
        in told
    )
    told = refusal('groups = ["working_44"]', 'groups = ["working_44"]\nlevels = [1, 2]')
    assert "no rule for emergency, group working_44, level 3" in told


def test_bands_must_begin_at_nothing_and_only_the_last_is_without_end() -> None:
    assert 'a gap before outpatient/working_44/deductible: from must be "0.00"' in refusal(
        'from = "0.00"', 'from = "1.00"'
    )
    assert "only the last band has no end" in refusal('to = "1500.00"\n', "")
    assert "the last band has no end" in refusal(
        'from = "1500.00"\nfund = "additional_fund"', 'from = "1500.00"\nto = "9000.00"\nfund = "additional_fund"'
    )


def test_what_is_not_toml_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"x\.toml: not TOML"):
        parse_plan("plan = ", "x.toml")
    with pytest.raises(PlanError, match=r"none\.toml: cannot be read"):
        load_plan(tmp_path / "none.toml")
    with pytest.raises(PlanError, match="there is no plan file"):
        load_plans(tmp_path)


def test_versions_that_overlap_are_refused_with_the_line_of_the_later(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.toml").write_text(
        TEXT.replace("from = 2018-04-01", "from = 2019-06-30").replace("to = 2019-06-30", "to = 2020-06-30", 1),
        encoding="utf-8",
    )
    with pytest.raises(PlanError) as error:
        load_plans(tmp_path)
    assert f"b.toml, line {line_of('from = 2018-04-01')}" in str(error.value)
    assert "a.toml holds until 2019-06-30" in str(error.value)


def _second(text: str) -> str:
    return text.replace("from = 2018-04-01\nto = 2019-06-30", "from = 2019-07-01").replace('"2018"', '"2019"', 1)


def test_one_name_for_two_insurance_years_is_refused(tmp_path: Path) -> None:
    without = "".join(each for each in TEXT.splitlines(keepends=True) if not each.startswith("last_year"))
    (tmp_path / "a.toml").write_text(without, encoding="utf-8")
    (tmp_path / "b.toml").write_text(_second(without).replace('"04-01"', '"07-01"'), encoding="utf-8")
    with pytest.raises(
        PlanError, match=r"a\.toml, line \d+: insurance year 2019 of employees would begin here and anew"
    ):
        load_plans(tmp_path)
    (tmp_path / "a.toml").write_text(TEXT, encoding="utf-8")
    assert len(load_plans(tmp_path)) == 2


def test_one_version_name_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TEXT, encoding="utf-8")
    later = TEXT.replace("from = 2018-04-01\nto = 2019-06-30", "from = 2019-07-01").replace(
        "last_year = 2018", "last_year = 2019"
    )
    (tmp_path / "b.toml").write_text(later, encoding="utf-8")
    with pytest.raises(PlanError, match=r"b\.toml, line \d+: employees has a version 2018 already, in a\.toml"):
        load_plans(tmp_path)


def test_class_c_is_never_on_an_account() -> None:
    told = refusal("own_expense = []", 'own_expense = ["carried_over"]')
    assert "insurance never pays class C" in told


def test_the_insurance_year_turns_on_its_day() -> None:
    old, new = load_plan(SHIPPED / "employees-2018.toml"), load_plan(SHIPPED / "employees-2019.toml")
    assert [old.insurance_year(dt.date(2019, 3, 31)), old.insurance_year(dt.date(2019, 4, 1))] == [2018, 2018]
    assert old.insurance_year(dt.date(2018, 3, 31)) == 2017
    assert [new.insurance_year(dt.date(2020, 6, 30)), new.insurance_year(dt.date(2020, 7, 1))] == [2019, 2020]


def test_ages_are_of_the_day() -> None:
    leap = Person(status="minor", born_on=dt.date(2000, 2, 29))
    assert [leap.age_on(dt.date(2018, 2, 28)), leap.age_on(dt.date(2018, 3, 1))] == [17, 18]
