"""Storms: all promises are kept, a seed repeats exactly, and an engine with a flaw is found out."""

from __future__ import annotations

import pytest

from settlement.engine.moves import LEGAL_MOVES
from settlement.simulation import SeedResult, Simulator
from settlement.simulation.crashes import count_points
from settlement.simulation.jobs import open_jobs
from settlement.simulation.stories import STORIES
from tests.simulation.flaws import FLAWS

MANY = range(1, 2_001)
"""The storms of the long run: some 25 minutes on two cores."""
SMALL = {"settlements": 20, "fault_count": 12}
"""A storm that is only to show something about the simulation itself."""


def test_all_promises_are_kept(simulator: Simulator) -> None:
    result = simulator.run_seed(1)
    assert result.violations == []
    assert result.counts["settlements"] >= 50
    assert result.counts["faults"] >= 20
    assert result.counts["crashes"] >= 1


def test_a_flaw_is_found_and_gone_afterwards_and_a_seed_repeats_exactly(simulator: Simulator) -> None:
    first = simulator.run_seed(3, **SMALL, keep_events=True)
    kept = next(flaw for flaw in FLAWS if flaw.name == "holds stay when a bill is turned back")
    flawed = simulator.run_seed(3, kept, **SMALL)
    again = simulator.run_seed(3, **SMALL, keep_events=True)
    assert first.ok
    assert {each.invariant for each in flawed.violations} >= {"holds_follow_decision", "balances"}
    assert any("dies at step" in line or "sql" in line for told in flawed.told for line in told)
    assert [event.line() for event in first.events] == [event.line() for event in again.events]
    assert first.digest == again.digest != simulator.run_seed(4, settlements=3, fault_count=0).digest


@pytest.mark.deep
def test_many_storms_and_the_stories_reach_every_move_and_repeat_in_another_process(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_jobs(2) as jobs:
        results = {result.seed: result for result in jobs.seeds(MANY)}
    with capsys.disabled():
        print(f"\n{len(results)} seeds: {_totals(list(results.values()))}")  # noqa: T201 - what a long run came to
        for seed, result in results.items():
            for violation in result.violations[:3]:
                print(f"seed {seed} {violation.invariant}: {violation.finding[:200]}")  # noqa: T201 - what to replay
    assert {seed: result.violations for seed, result in results.items() if not result.ok} == {}
    assert len(results) == len(MANY)
    stories = [count_points(simulator, story)[0] for story in STORIES]
    assert [story.violations for story in stories if not story.ok] == []
    assert _legal_moves() - _reached([*results.values(), *stories]) == set()
    with open_jobs(1) as jobs:
        assert [result.digest for result in jobs.seeds(range(1, 6))] == [results[seed].digest for seed in range(1, 6)]


def _totals(results: list[SeedResult]) -> str:
    names = ("settlements", "faults", "crashes")
    broken = sum(not result.ok for result in results)
    totals = ", ".join(f"{sum(result.counts.get(name, 0) for result in results)} {name}" for name in names)
    return f"{totals}, {broken} broken"


def _legal_moves() -> set[str]:
    return {
        f"{leg}: {before} > {after}"
        for leg, moves in LEGAL_MOVES.items()
        for before, targets in moves.items()
        for after in targets
    }


def _reached(results: list[SeedResult]) -> set[str]:
    return {move for result in results for move in result.reached}
