"""All plans side by side: a bill is judged by the plan of its service date, also when it is refunded years later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from settlement.policy.plan import Group, Person, Plan, Rule
from settlement.policy.planfile import SHIPPED, load_plans


class NoPlan(LookupError):
    """No plan, or none of its groups, is this person's on that day; the message says which."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """By what a bill is judged."""

    plan: Plan
    group: Group
    rule: Rule


class PlanBook:
    """Plans by code and date."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._plans = tuple(plans)

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> PlanBook:
        """From a folder of plan files. Raises ``PlanError``."""
        return cls(load_plans(folder))

    @property
    def plans(self) -> tuple[Plan, ...]:
        """All versions of all plans, by code and date."""
        return self._plans

    def plan(self, code: str, day: dt.date) -> Plan:
        """The version of a plan that is in force on a day. Raises ``NoPlan``."""
        for plan in self._plans:
            if plan.code == code and plan.holds_on(day):
                return plan
        raise NoPlan(f"there is no plan {code} for {day}")

    def recorded(self, code: str, version: str, group: str, visit: str, level: int) -> Judgement:
        """The very version, group and rule that a bill was judged by. Raises ``NoPlan`` where they are not here."""
        for plan in self._plans:
            if plan.code == code and plan.version == version:
                rule = plan.rules.get((visit, group, level))
                found = next((each for each in plan.groups if each.code == group), None)
                if rule is not None and found is not None:
                    return Judgement(plan, found, rule)
        raise NoPlan(f"plan {code} {version}, by which the bill was judged, is not among the plans")

    def judgement(self, code: str, day: dt.date, person: Person, visit: str, level: int) -> Judgement:
        """The rule for a visit of a person on a day at an institution of this level. Raises ``NoPlan``."""
        plan = self.plan(code, day)
        group = plan.group_of(person, day)
        if group is None:
            raise NoPlan(f"plan {code} {plan.version} has no group for this person ({person.status})")
        rule = plan.rules.get((visit, group.code, level))
        if rule is None:
            raise NoPlan(f"plan {code} {plan.version} has no rule for {visit} at level {level}")
        return Judgement(plan, group, rule)
