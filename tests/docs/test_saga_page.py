"""The page about the saga shows the table of legal moves as the code has it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from settlement.engine.declines import DECLINES
from settlement.engine.moves import FINAL, LEGAL_MOVES

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "saga.md").read_text(encoding="utf-8")


def test_the_legal_moves_are_those_of_the_code() -> None:
    table = PAGE.split("| leg | from | to |\n|---|---|---|\n")[1].split("\n\n")[0]
    shown: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    leg = ""
    for row in table.splitlines():
        first, source, targets = (cell.strip() for cell in row.strip("|").split("|"))
        named = re.match(r"`(\w+)`", first)
        leg = named[1] if named else leg
        shown[leg][source.strip("`")] = frozenset(re.findall(r"`(\w+)`", targets))
    assert shown == LEGAL_MOVES


def test_what_is_at_rest_is_named() -> None:
    sentence = PAGE.split("At rest for good:")[1].split(". ")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == set().union(*FINAL.values())


def test_decline_codes_named_exist() -> None:
    assert set(re.findall(r"`(BANK_[A-Z_]+|REVERSED_BY_TILL)`", PAGE)) <= DECLINES.keys()
