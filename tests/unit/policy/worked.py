"""The table of worked bills, read."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settlement.policy.book import PlanBook
from settlement.policy.evaluate import JudgedLine, Outcome, evaluate, judge_line
from settlement.policy.plan import Person

TABLE = Path(__file__).parent / "worked_bills.toml"
_LINE = re.compile(r"(?P<category>[ABC]) (?P<amount>[0-9.]+)(?: (?P<share>0\.[0-9]+))?(?: max (?P<ceiling>[0-9.]+))?")


def fen(yuan: str) -> int:
    """From yuan with two decimals."""
    whole, decimals = yuan.split(".")
    assert len(decimals) == 2
    return int(whole) * 100 + int(decimals)


@dataclass(frozen=True)
class WorkedBill:
    """One entry of the table."""

    what: str
    data: dict[str, Any]

    def person(self) -> Person:
        given = self.data["person"]
        return Person(
            status=given["status"],
            born_on=given["born"],
            retired_on=given.get("retired"),
            at_work_by=given.get("at_work_by"),
        )

    def lines(self, default_share: int) -> list[JudgedLine]:
        found = []
        for number, text in enumerate(self.data["lines"], 1):
            match = _LINE.fullmatch(text)
            assert match is not None, text
            share = default_share if match["share"] is None else round(float(match["share"]) * 10_000)
            ceiling = None if match["ceiling"] is None else fen(match["ceiling"])
            found.append(judge_line(number, match["category"], fen(match["amount"]), share=share, ceiling_fen=ceiling))
        return found

    def judged(self, book: PlanBook) -> tuple[str, Outcome]:
        """The name of the rule, and what it says."""
        data = self.data
        day: dt.date = data["day"]
        judgement = book.judgement(data["plan"], day, self.person(), data["visit"], data["level"])
        outcome = evaluate(
            judgement.rule,
            judgement.plan.lines,
            self.lines(judgement.plan.lines.default_share),
            balances={name: fen(data.get(name, "0.00")) for name in ("current_year", "carried_over")},
            counted={name: fen(yuan) for name, yuan in data.get("counted", {}).items()},
            remainder="bank",
        )
        return judgement.rule.name, outcome


def worked_bills() -> list[WorkedBill]:
    """The whole table."""
    return [WorkedBill(each["what"], each) for each in tomllib.loads(TABLE.read_text(encoding="utf-8"))["bill"]]
