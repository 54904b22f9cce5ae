"""Plans from TOML files: read, checked, and refused with file, line and rule where something is wrong."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from settlement.policy.plan import (
    ACCOUNTS,
    FUNDS,
    LEVELS,
    STATUSES,
    VISITS,
    WHOLE,
    Account,
    Band,
    Fund,
    Group,
    LineRules,
    Plan,
    Rule,
    Scope,
    Status,
)
from settlement.policy.planlines import Place, PlanLines

SHIPPED = Path(__file__).parent / "plans"
"""The plans that come with the service."""

_YUAN = re.compile(r"(0|[1-9]\d{0,11})\.(\d{2})")
_RATIO = re.compile(r"0(?:\.\d{1,4})?|1(?:\.0{1,4})?")
_YEAR_START = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PLAN_KEYS = {"plan", "name", "version", "from", "to", "year_starts", "last_year", "source", "lines", "group", "rule"}
_LINE_KEYS = {"own_expense", "above_price_ceiling", "self_paid_share", "default_share_b"}
_GROUP_KEYS = {"code", "name", "status", "age_from", "age_to", "born_by", "at_work_by", "retired_by"}
_RULE_KEYS = {"name", "visits", "groups", "levels", "first", "counts", "scope", "band"}
_AGE_MAX = 150
_BAND_KEYS = {"name", "from", "to", "fund", "ratio", "fund_to", "rest"}


class PlanError(ValueError):
    """A plan file that cannot be used; the message names file, line and what is wrong."""


def load_plan(path: Path) -> Plan:
    """Read one plan. Raises ``PlanError``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path.name}: cannot be read ({type(error).__name__})") from error
    return parse_plan(text, path.name)


def load_plans(folder: Path = SHIPPED) -> tuple[Plan, ...]:
    """Read every ``*.toml`` of a folder, by code and date. Raises ``PlanError``, also for versions that overlap."""
    found = [(path, load_plan(path)) for path in sorted(folder.glob("*.toml"))]
    if not found:
        raise PlanError(f"{folder.name}: there is no plan file (*.toml)")
    found.sort(key=lambda each: (each[1].code, each[1].valid_from))
    for (path, plan), (later_path, later) in itertools.pairwise(found):
        if plan.code == later.code and (plan.valid_to is None or later.valid_from <= plan.valid_to):
            line = PlanLines(later_path.read_text(encoding="utf-8")).of(("from",))
            until = "until further notice" if plan.valid_to is None else f"until {plan.valid_to}"
            raise PlanError(
                f"{later_path.name}, line {line}: {later.code} from {later.valid_from}, but {path.name} holds {until}"
            )
        if plan.code == later.code and _years_run_together(plan, later):
            line = PlanLines(path.read_text(encoding="utf-8")).of(("year_starts",))
            year = later.insurance_year(later.valid_from)
            raise PlanError(
                f"{path.name}, line {line}: insurance year {year} of {plan.code} would begin here and anew in "
                f"{later_path.name}; give the earlier one a last_year, which lasts until its end"
            )
    versions: dict[tuple[str, str], str] = {}
    for path, plan in found:
        other = versions.setdefault((plan.code, plan.version), path.name)
        if other != path.name:
            line = PlanLines(path.read_text(encoding="utf-8")).of(("version",))
            raise PlanError(f"{path.name}, line {line}: {plan.code} has a version {plan.version} already, in {other}")
    return tuple(plan for _, plan in found)


def _years_run_together(plan: Plan, later: Plan) -> bool:
    """Whether two versions give one name to two insurance years, so that counters would not begin anew."""
    if plan.year_starts == later.year_starts or plan.valid_to is None:
        return False
    return plan.insurance_year(plan.valid_to) >= later.insurance_year(later.valid_from)


def parse_plan(text: str, name: str) -> Plan:
    """A plan from its text. ``name``: how messages call it. Raises ``PlanError``."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{name}: not TOML: {error}") from error
    return _Reader(name, PlanLines(text)).plan(data)


class _Reader:
    def __init__(self, name: str, lines: PlanLines) -> None:
        self._name = name
        self._lines = lines
        self._rule = ""

    def fail(self, place: Place, what: str) -> PlanError:
        rule = f", rule {self._rule}" if self._rule else ""
        return PlanError(f"{self._name}, line {self._lines.of(place)}{rule}: {what}")

    # the parts

    def plan(self, data: Mapping[str, Any]) -> Plan:
        self._known(data, _PLAN_KEYS, ())
        groups = tuple(self._group(each, ("group", place)) for place, each in enumerate(data.get("group", [])))
        if not groups:
            raise self.fail((), "there is no [[group]]")
        codes = [group.code for group in groups]
        for place, code in enumerate(codes):
            if code in codes[:place]:
                raise self.fail(("group", place, "code"), f"group {code} is there already")
        valid_from, valid_to = self._day(data, "from", ()), self._day_if_given(data, "to", ())
        if valid_to is not None and valid_to < valid_from:
            raise self.fail(("to",), f"to {valid_to} lies before from {valid_from}")
        starts = self._text(data, "year_starts", (), _YEAR_START, "a month and a day such as 07-01")
        return Plan(
            code=self._text(data, "plan", (), _CODE, "a code such as employees"),
            name=self._text(data, "name", ()),
            version=self._text(data, "version", ()),
            valid_from=valid_from,
            valid_to=valid_to,
            year_starts=(int(starts[:2]), int(starts[3:])),
            last_year=self._last_year(data, valid_from),
            lines=self._line_rules(data.get("lines", {}), ("lines",)),
            groups=groups,
            rules=self._rules(data.get("rule", []), codes),
            source=self._text(data, "source", ()) if "source" in data else "",
        )

    def _last_year(self, data: Mapping[str, Any], valid_from: dt.date) -> int | None:
        year = data.get("last_year")
        if year is None:
            return None
        if type(year) is not int or not valid_from.year - 1 <= year <= dt.MAXYEAR:
            raise self.fail(("last_year",), f"last_year must be a year that has begun by {valid_from} or later")
        return year

    def _group(self, data: Mapping[str, Any], place: Place) -> Group:
        self._known(data, _GROUP_KEYS, place)
        return Group(
            code=self._text(data, "code", place, _CODE, "a code such as working_44"),
            name=self._text(data, "name", place),
            status=cast("Status", self._one_of(data, "status", place, STATUSES)),
            age_from=self._age(data, "age_from", place),
            age_to=self._age(data, "age_to", place),
            born_by=self._day_if_given(data, "born_by", place),
            at_work_by=self._day_if_given(data, "at_work_by", place),
            retired_by=self._day_if_given(data, "retired_by", place),
        )

    def _line_rules(self, data: Mapping[str, Any], place: Place) -> LineRules:
        self._known(data, _LINE_KEYS, place)
        return LineRules(
            own_expense=self._no_accounts(data, "own_expense", place),
            above_ceiling=self._accounts(data, "above_price_ceiling", place),
            self_paid=self._accounts(data, "self_paid_share", place),
            default_share=self._ratio(data.get("default_share_b", "0"), (*place, "default_share_b")),
        )

    def _rules(self, found: list[Mapping[str, Any]], groups: list[str]) -> Mapping[tuple[str, str, int], Rule]:
        rules: dict[tuple[str, str, int], Rule] = {}
        owners: dict[tuple[str, str, int], str] = {}
        for number, data in enumerate(found):
            place: Place = ("rule", number)
            self._rule = str(data.get("name", f"number {number + 1}"))
            self._known(data, _RULE_KEYS, place)
            visits = self._each_of(data, "visits", place, VISITS)
            members = self._each_of(data, "groups", place, groups) if "groups" in data else tuple(groups)
            levels = self._levels(data, place)
            for level in levels:
                rule = self._one_rule(data, place, level)
                for key in ((visit, member, level) for visit in visits for member in members):
                    if key in rules:
                        raise self.fail(place, f"{key[0]}, {key[1]}, level {level} is ruled by {owners[key]} already")
                    rules[key], owners[key] = rule, self._rule
        self._rule = ""
        for visit in sorted({visit for visit, _, _ in rules}):
            for group in groups:
                for level in LEVELS:
                    if (visit, group, level) not in rules:
                        raise self.fail((), f"no rule for {visit}, group {group}, level {level}")
        return rules

    def _one_rule(self, data: Mapping[str, Any], place: Place, level: int) -> Rule:
        name = self._text(data, "name", place)
        bands = [
            self._band(each, (*place, "band", number), level, name) for number, each in enumerate(data.get("band", []))
        ]
        if not bands:
            raise self.fail(place, "there is no [[rule.band]]")
        self._bands_meet(bands, place)
        counts = self._text(data, "counts", place, _CODE, "a name such as outpatient") if "counts" in data else None
        if counts is None and any(band.to_fen is not None or band.fund_to_fen is not None for band in bands):
            raise self.fail(place, 'bands that end need a counter: counts = "…"')
        scope = self._one_of(data, "scope", place, get_args(Scope)) if "scope" in data else "year"
        return Rule(
            name=name,
            first=self._accounts(data, "first", place),
            counts=counts,
            scope=cast("Scope", scope),
            bands=tuple(bands),
        )

    def _band(self, data: Mapping[str, Any], place: Place, level: int, rule: str) -> Band:
        self._known(data, _BAND_KEYS, place)
        fund = self._one_of(data, "fund", place, FUNDS) if "fund" in data else None
        if ("ratio" in data) != (fund is not None):
            raise self.fail(place, "fund and ratio go together")
        if "fund_to" in data and (fund is None or "to" in data):
            raise self.fail((*place, "fund_to"), "fund_to needs a fund, and takes the place of to")
        ratio = data.get("ratio", "0")
        if isinstance(ratio, dict):
            if str(level) not in ratio or set(ratio) - {str(each) for each in LEVELS}:
                raise self.fail((*place, "ratio"), "a ratio by level names levels 1, 2 and 3")
            ratio = ratio[str(level)]
        return Band(
            name=f"{rule}/{self._text(data, 'name', place)}",
            from_fen=self._yuan(data, "from", place, level),
            to_fen=self._yuan(data, "to", place, level),
            fund_to_fen=self._yuan(data, "fund_to", place, level),
            fund=cast("Fund | None", fund),
            ratio=self._ratio(ratio, (*place, "ratio")),
            rest=self._accounts(data, "rest", place),
        )

    def _bands_meet(self, bands: list[Band], place: Place) -> None:
        """From nothing to without end, each beginning where the one before it ends."""
        reached: int | None = 0
        for number, band in enumerate(bands):
            here = (*place, "band", number)
            if band.from_fen != reached:
                if reached is None:
                    raise self.fail(
                        (*here, "from"), f"{band.name} follows a band that ends with its fund: leave out from"
                    )
                kind = "a gap" if band.from_fen is None or band.from_fen > reached else "an overlap"
                raise self.fail((*here, "from"), f"{kind} before {band.name}: from must be {_shown(reached)}")
            if band.to_fen is not None and (reached is None or band.to_fen <= reached):
                raise self.fail((*here, "to"), f"{band.name} ends before it begins")
            last = number == len(bands) - 1
            ends = band.to_fen is not None or band.fund_to_fen is not None
            if last == ends:
                what = "the last band has no end" if last else "only the last band has no end"
                raise self.fail(here, f"{what}: {band.name}")
            reached = band.to_fen

    # the values

    def _known(self, data: Mapping[str, Any], known: Iterable[str], place: Place) -> None:
        for key in data:
            if key not in known:
                raise self.fail((*place, key), f"unknown key {key}; there are {', '.join(sorted(known))}")

    def _text(
        self,
        data: Mapping[str, Any],
        key: str,
        place: Place,
        form: re.Pattern[str] | None = None,
        wanted: str = "a text",
    ) -> str:
        value = data.get(key)
        if not isinstance(value, str) or not value.strip() or (form is not None and not form.fullmatch(value)):
            raise self.fail((*place, key), f"{key} must be {wanted}, not {value!r}")
        return value

    def _one_of(self, data: Mapping[str, Any], key: str, place: Place, known: Iterable[str]) -> str:
        value = data.get(key)
        if value not in set(known):
            raise self.fail((*place, key), f"{key} = {value!r}: there are {', '.join(known)}")
        return cast("str", value)

    def _each_of(self, data: Mapping[str, Any], key: str, place: Place, known: Iterable[str]) -> tuple[str, ...]:
        value = data.get(key)
        if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
            raise self.fail((*place, key), f"{key} must be a list of different names")
        for each in value:
            if each not in known:
                raise self.fail((*place, key), f"{key}: unknown {each!r}; there are {', '.join(known)}")
        return tuple(value)

    def _accounts(self, data: Mapping[str, Any], key: str, place: Place) -> tuple[Account, ...]:
        if not data.get(key):
            return ()
        return cast("tuple[Account, ...]", self._each_of(data, key, place, ACCOUNTS))

    def _no_accounts(self, data: Mapping[str, Any], key: str, place: Place) -> tuple[Account, ...]:
        if self._accounts(data, key, place):
            raise self.fail((*place, key), f"{key} must be empty: insurance never pays class C")
        return ()

    def _levels(self, data: Mapping[str, Any], place: Place) -> tuple[int, ...]:
        value = data.get("levels", list(LEVELS))
        if not isinstance(value, list) or not value or any(each not in LEVELS for each in value):
            raise self.fail((*place, "levels"), f"levels must be a list of 1, 2 and 3, not {value!r}")
        return tuple(value)

    def _age(self, data: Mapping[str, Any], key: str, place: Place) -> int | None:
        value = data.get(key)
        if value is not None and (type(value) is not int or not 0 <= value <= _AGE_MAX):
            raise self.fail((*place, key), f"{key} must be a whole number of years, not {value!r}")
        return value

    def _day_if_given(self, data: Mapping[str, Any], key: str, place: Place) -> dt.date | None:
        return self._day(data, key, place) if key in data else None

    def _day(self, data: Mapping[str, Any], key: str, place: Place) -> dt.date:
        value = data.get(key)
        if type(value) is not dt.date:
            raise self.fail((*place, key), f"{key} must be a date such as 2019-07-01, not {value!r}")
        return value

    def _yuan(self, data: Mapping[str, Any], key: str, place: Place, level: int) -> int | None:
        value = data.get(key)
        if value is None:
            return None
        if isinstance(value, dict):
            value = value.get(str(level))
        match = _YUAN.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise self.fail(
                (*place, key), f'{key} must be yuan with two decimals in quotes, as "1500.00", not {value!r}'
            )
        return int(match[1]) * 100 + int(match[2])

    def _ratio(self, value: object, place: Place) -> int:
        if not isinstance(value, str) or not _RATIO.fullmatch(value):
            raise self.fail(
                place, f'{place[-1]} must be from "0" to "1" with at most four decimals, in quotes, not {value!r}'
            )
        whole, _, decimals = value.partition(".")
        return int(whole) * WHOLE + int(decimals.ljust(4, "0") or "0")


def _shown(fen: int) -> str:
    return f'"{fen // 100}.{fen % 100:02}"'
