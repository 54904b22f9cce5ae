"""Storms: all promises are kept, a seed repeats exactly, and an engine with a flaw is found out."""

from __future__ import annotations

from typing import Any

import pytest

from settlement.banks.port import BankAnswer
from settlement.engine.bank_legs import BankLegs
from settlement.engine.moves import LEGAL_MOVES
from settlement.ledger.records import BankLeg
from settlement.simulation import Plant, SeedResult, Simulator
from settlement.simulation.jobs import open_jobs

SMALL = {"settlements": 20, "fault_count": 12}
"""A storm that is only to show something about the simulation itself."""


async def _declined(self: Any, leg: BankLeg, answer: BankAnswer) -> None:
    await self._record(leg, answer, "declined", "no_answer", "BANK_UNAVAILABLE")


NO_ANSWER_IS_A_DECLINE = Plant(name="no answer is taken for a decline", patches=((BankLegs, "_in_doubt", _declined),))
HOLDS_ARE_KEPT = Plant(
    name="a bill turned back keeps its holds",
    sql="""create or replace function end_holds(p_keys saga_key[], p_outcome text, p_cause text, p_now timestamptz)
           returns void language sql as 'select'""",
)


def test_all_promises_are_kept(simulator: Simulator) -> None:
    result = simulator.run_seed(1)
    assert result.violations == []
    assert result.counts["settlements"] >= 50
    assert result.counts["faults"] >= 20
    assert result.counts["crashes"] >= 1


def test_a_flaw_is_found_and_gone_afterwards_and_a_seed_repeats_exactly(simulator: Simulator) -> None:
    first = simulator.run_seed(3, **SMALL, keep_events=True)
    flawed = simulator.run_seed(3, HOLDS_ARE_KEPT, **SMALL)
    again = simulator.run_seed(3, **SMALL, keep_events=True)
    assert first.ok
    assert {each.invariant for each in flawed.violations} >= {"holds_follow_decision", "balances"}
    assert any("dies at step" in line or "sql" in line for told in flawed.told for line in told)
    assert [event.line() for event in first.events] == [event.line() for event in again.events]
    assert first.digest == again.digest != simulator.run_seed(4, settlements=3, fault_count=0).digest


@pytest.mark.deep
@pytest.mark.parametrize("plant", [NO_ANSWER_IS_A_DECLINE, HOLDS_ARE_KEPT], ids=lambda plant: plant.name)
def test_a_few_storms_find_a_flaw(simulator: Simulator, plant: Plant) -> None:
    assert any(not simulator.run_seed(seed, plant).ok for seed in range(1, 6))


@pytest.mark.deep
def test_two_hundred_storms_reach_every_move_and_repeat_in_another_process() -> None:
    with open_jobs(2) as jobs:
        results = {result.seed: result for result in jobs.seeds(range(1, 201))}
    assert {seed: result.violations for seed, result in results.items() if not result.ok} == {}
    assert len(results) == 200
    assert _legal_moves() - _reached(list(results.values())) == set()
    with open_jobs(1) as jobs:
        assert [result.digest for result in jobs.seeds(range(1, 6))] == [results[seed].digest for seed in range(1, 6)]


def _legal_moves() -> set[str]:
    return {
        f"{leg}: {before} > {after}"
        for leg, moves in LEGAL_MOVES.items()
        for before, targets in moves.items()
        for after in targets
    }


def _reached(results: list[SeedResult]) -> set[str]:
    return {move for result in results for move in result.reached}
