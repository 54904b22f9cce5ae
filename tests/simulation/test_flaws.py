"""Planted flaws: the simulation finds each of them, and the long run prints which seed found which."""

from __future__ import annotations

import pytest

from settlement.simulation import Plant, Rewrite, Simulator
from settlement.simulation.jobs import Hunt, open_jobs
from tests.simulation.flaws import FLAWS

SEEDS = range(1, 101)
"""So many storms a flaw may survive at most; most of them survive none."""


ALL_FUNCTIONS = """select md5(string_agg(pg_get_functiondef(p.oid), '' order by p.oid)) from pg_proc p
                   where p.prokind = 'f' and p.pronamespace = 'public'::regnamespace"""


@pytest.mark.deep
def test_every_flaw_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with open_jobs(2) as jobs:
        hunts = list(jobs.hunts(FLAWS, SEEDS))
    with capsys.disabled():
        print("\n" + "\n".join(table(hunts)))  # noqa: T201 - the table is what the long run is for
    assert [hunt.flaw for hunt in hunts] == [flaw.name for flaw in FLAWS]
    assert [hunt.flaw for hunt in hunts if hunt.seed is None] == []


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert len(FLAWS) >= 12
    assert len({flaw.name for flaw in FLAWS}) == len(FLAWS)


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.name)
def test_a_flaw_is_planted_and_gone_afterwards(simulator: Simulator, flaw: Plant) -> None:
    """A storm of nothing: what the flaw rewrites is there, and is as before when the run is over."""
    before = simulator.database.run("fetchval", ALL_FUNCTIONS, ())
    simulator.run_seed(1, flaw, settlements=0, fault_count=0)
    assert simulator.database.run("fetchval", ALL_FUNCTIONS, ()) == before


def test_a_flaw_that_is_not_there_is_refused(simulator: Simulator) -> None:
    nothing = Plant(name="nothing", rewrites=(Rewrite(function="end_holds", text="no such text", instead=""),))
    with pytest.raises(ValueError, match="end_holds has no text"):
        simulator.run_seed(1, nothing, settlements=0, fault_count=0)


def table(hunts: list[Hunt]) -> list[str]:
    """Flaw, the seed that found it, what was broken."""
    width = max(len(hunt.flaw) for hunt in hunts)
    return [
        f"{'flaw':<{width}}  seed  what gave it away",
        *(
            f"{hunt.flaw:<{width}}  {'NONE' if hunt.seed is None else hunt.seed:>4}  {', '.join(hunt.broken)}"
            for hunt in hunts
        ),
    ]
