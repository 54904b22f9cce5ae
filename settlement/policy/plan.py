"""A plan of the medical insurance as data: who belongs to which group, and who pays what of each kind of visit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Account = Literal["current_year", "carried_over"]
Fund = Literal["pooled_fund", "additional_fund"]
Visit = Literal["outpatient", "emergency", "inpatient", "home_sickbed", "pharmacy"]
Status = Literal["working", "retired", "resident", "minor"]
Scope = Literal["year", "stay"]

ACCOUNTS: Final[tuple[str, ...]] = get_args(Account)
FUNDS: Final[tuple[str, ...]] = get_args(Fund)
VISITS: Final[tuple[str, ...]] = get_args(Visit)
STATUSES: Final[tuple[str, ...]] = get_args(Status)
LEVELS: Final = (1, 2, 3)
WHOLE: Final = 10_000
"""Ratios are whole numbers of ten-thousandths, as in the national interface (5,4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What a plan asks of a person. ``retired_on``: of a retired person · ``at_work_by``: when work began, if known."""

    status: Status
    born_on: dt.date
    retired_on: dt.date | None = None
    at_work_by: dt.date | None = None

    def age_on(self, day: dt.date) -> int:
        """Full years of age on a day; whoever is born on 29 February has the birthday on 1 March in other years."""
        return day.year - self.born_on.year - ((day.month, day.day) < (self.born_on.month, self.born_on.day))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Who is judged alike. Bounds include their days and years; None: no bound."""

    code: str
    name: str
    status: Status
    age_from: int | None = None
    age_to: int | None = None
    born_by: dt.date | None = None
    at_work_by: dt.date | None = None
    retired_by: dt.date | None = None

    def holds(self, person: Person, age: int) -> bool:
        """Whether a person of this age belongs to it."""
        return (
            person.status == self.status
            and (self.age_from is None or age >= self.age_from)
            and (self.age_to is None or age <= self.age_to)
            and (self.born_by is None or person.born_on <= self.born_by)
            and (self.at_work_by is None or (person.at_work_by is not None and person.at_work_by <= self.at_work_by))
            and (self.retired_by is None or (person.retired_on is not None and person.retired_on <= self.retired_by))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A stretch of what is covered, counted over the year or the stay. Amounts in fen.

    It begins at ``from_fen`` of the counter and ends at ``to_fen``, or where its fund has paid ``fund_to_fen``; a last
    band has neither end. The fund pays ``ratio`` (ten-thousandths); the accounts of ``rest`` pay the rest in their
    order, and what they cannot is the patient's remainder.
    """

    name: str
    from_fen: int | None
    to_fen: int | None
    fund_to_fen: int | None
    fund: Fund | None
    ratio: int
    rest: tuple[Account, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a visit is judged. ``first``: accounts that pay before any band · ``counts``: the counter (of what is covered
    and goes through the bands) · ``scope``: whether it runs over the insurance year or one stay.
    """

    name: str
    first: tuple[Account, ...]
    counts: str | None
    scope: Scope
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRules:
    """Accounts that pay what no plan covers: class C, above a price ceiling, the self-paid share of class B.

    ``default_share``: of a class B item that the catalog does not know, in ten-thousandths.
    """

    own_expense: tuple[Account, ...] = ()
    above_ceiling: tuple[Account, ...] = ()
    self_paid: tuple[Account, ...] = ()
    default_share: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One plan from ``valid_from`` to ``valid_to``, both days included (None: until further notice).

    ``year_starts``: month and day on which the insurance year turns · ``last_year``: the year that lasts until this
    version ends, where the day of the turn moves · ``rules``: by visit, group and level.
    """

    code: str
    name: str
    version: str
    valid_from: dt.date
    valid_to: dt.date | None
    year_starts: tuple[int, int]
    last_year: int | None = None
    lines: LineRules
    groups: tuple[Group, ...]
    rules: Mapping[tuple[str, str, int], Rule]
    source: str = ""

    def group_of(self, person: Person, day: dt.date) -> Group | None:
        """The first group that holds the person on a day; None: the plan is not this person's."""
        age = person.age_on(day)
        return next((group for group in self.groups if group.holds(person, age)), None)

    def insurance_year(self, day: dt.date) -> int:
        """The insurance year of a day, named by the calendar year in which it begins."""
        year = day.year - ((day.month, day.day) < self.year_starts)
        return year if self.last_year is None else min(year, self.last_year)

    def holds_on(self, day: dt.date) -> bool:
        """Whether the plan is in force on a day."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    def distinct_rules(self) -> Iterator[Rule]:
        """Each rule once."""
        seen: set[int] = set()
        for rule in self.rules.values():
            if id(rule) not in seen:
                seen.add(id(rule))
                yield rule
