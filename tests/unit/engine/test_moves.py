"""The table of legal moves is one truth in two places: the code's and the database's."""

from __future__ import annotations

import re
from importlib import resources

from settlement.engine.moves import FINAL, LEGAL_MOVES


def test_the_database_enforces_the_same_table() -> None:
    sql = (resources.files("settlement.db") / "migrations" / "0004_saga.sql").read_text()
    rules = sql[sql.index("insert into leg_rule") : sql.index("create table leg (")]
    in_database = set(re.findall(r"\('(\w+)', '(\w+)', '(\w+)'\)", rules))
    in_code = {(leg, old, new) for leg, moves in LEGAL_MOVES.items() for old, news in moves.items() for new in news}
    assert in_database == in_code


def test_final_states_have_no_way_out() -> None:
    for leg, finals in FINAL.items():
        reachable = {new for news in LEGAL_MOVES[leg].values() for new in news}
        assert finals <= reachable
        assert finals.isdisjoint(LEGAL_MOVES[leg])
