"""A person's coverage: dated, kept with all that was said, and never changed under a bill that is being judged."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import get_args

import asyncpg
import pytest

from settlement.cards import numbers
from settlement.cards.errors import NumberInvalid, PersonUnknown
from settlement.cards.model import Coverage, Status
from settlement.cards.registry import CardRegistry
from settlement.policy.plan import STATUSES
from tests.support.cards import Issue, Pool, new_id_number

WORKING = Coverage(valid_from=dt.date(2018, 7, 1), plan="employees", status="working")


async def test_another_word_for_a_day_takes_its_place_and_the_first_stays_on_record(
    registry: CardRegistry, pool: Pool
) -> None:
    person = await registry.register_person("张建国", new_id_number())
    assert await registry.cover(person, WORKING)
    retired = replace(WORKING, status="retired", retired_on=dt.date(2018, 6, 30))
    assert await registry.cover(person, retired)
    assert not await registry.cover(person, retired)
    assert await registry.coverages(person) == (retired,)
    assert await registry.cover(person, WORKING)
    assert await registry.coverages(person) == (WORKING,)
    assert await pool.fetchval("select count(*) from person_coverage where person_id = $1", person) == 3


def test_persons_are_insured_as_what_plans_know() -> None:
    assert get_args(Status) == STATUSES


async def test_a_bill_judged_by_another_coverage_is_judged_again(registry: CardRegistry, issue: Issue) -> None:
    card = (await issue(new_id_number())).card_number
    before = (await registry.load(card)).account_version
    await registry.cover(card, WORKING)
    after = (await registry.load(card)).account_version
    assert after == before + 1
    await registry.cover(card, WORKING)
    assert (await registry.load(card)).account_version == after


async def test_whoever_is_not_there_or_was_never_born_is_refused(registry: CardRegistry, pool: Pool) -> None:
    with pytest.raises(PersonUnknown):
        await registry.cover(999_999_999, WORKING)
    first = "31010119800231999"  # 31 February
    person = await registry.register_person("王芳", first + numbers.id_check_character(first))
    with pytest.raises(NumberInvalid, match="does not name a day of birth"):
        await registry.cover(person, WORKING)
    assert await registry.coverages(person) == ()


async def test_the_day_of_birth_comes_from_the_id_number(registry: CardRegistry) -> None:
    person = await registry.register_person("王芳", new_id_number())
    assert await registry.born_on(person) == dt.date(1980, 1, 1)


@pytest.mark.parametrize(
    "facts",
    [
        {"plan": None},
        {"status": None},
        {"retired_on": dt.date(2018, 1, 1)},
        {"status": "minor", "at_work_by": dt.date(2018, 1, 1)},
        {"status": "retired", "retired_on": dt.date(1990, 1, 1), "at_work_by": dt.date(1990, 1, 2)},
    ],
)
async def test_what_nobody_is_the_database_refuses_too(
    registry: CardRegistry, pool: Pool, facts: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"together|only|nobody"):
        replace(WORKING, **facts)  # type: ignore[arg-type]  # what nobody is
    person = await registry.register_person("王芳", new_id_number())
    row = {"plan": "employees", "status": "working", "retired_on": None, "at_work_by": None} | facts
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(
            "insert into person_coverage (person_id, valid_from, plan, status, retired_on, at_work_by, noted_at)"
            " values ($1, '2018-07-01', $2, $3, $4, $5, now())",
            person,
            *row.values(),
        )


@pytest.mark.parametrize("statement", ["update person_coverage set plan = 'x'", "delete from person_coverage"])
async def test_the_record_stays(registry: CardRegistry, pool: Pool, statement: str) -> None:
    await registry.cover(await registry.register_person("王芳", new_id_number()), WORKING)
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute(statement)
