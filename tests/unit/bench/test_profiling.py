"""The profile: statements by what they do, functions by the samples they are in."""

from __future__ import annotations

import pytest

from bench.profiling import label_of
from bench.sampling import shares


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("insert into leg_move values (new.person_id)", "insert into leg_move"),
        ("update leg l set state = $1 where x in (select 1 from hold)", "update leg"),
        ("SELECT end_holds(forward_keys, $1)", "select end_holds()"),
        ("select action from record_debit_answers($1)", "select from record_debit_answers"),
        ("delete from line_claim c using settlement s", "delete from line_claim"),
        ("", ""),
    ],
)
def test_a_statement_is_named_by_what_it_does(query: str, label: str) -> None:
    assert label_of(query) == label


def test_shares_count_a_function_once_a_sample_and_leave_out_plumbing() -> None:
    found = shares(
        [
            "main (asyncio/runners.py:1);settle (settlement/engine/settle.py:10);fetch (asyncpg/pool.py:5) 3",
            "settle (settlement/engine/settle.py:11);settle (settlement/engine/settle.py:12) 1",
        ]
    )
    by_name = {each.function: (each.inclusive, each.own) for each in found}
    assert by_name == {"settlement/engine/settle.py settle": (1.0, 0.25), "asyncpg/pool.py fetch": (0.75, 0.75)}
