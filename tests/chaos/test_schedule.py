"""The schedule: the same again for a seed, every kind in it, and nobody hit again before he is back."""

from __future__ import annotations

import itertools

import pytest

from chaos.schedule import (
    ALL_BANKS,
    BANK_FAULTS,
    DATABASE_LINK,
    KILLS,
    LINK_FAULTS,
    TILL_LINK,
    Blow,
    Targets,
    make_schedule,
)

BANKS = ("BOSC", "CMB", "SPDB", "ICBC")
TARGETS = Targets(services=2, workers=2, hosts=3, banks=BANKS, lease_ms=4_000)
FIVE_MINUTES_MS = 300_000


def schedule(seed: int, *, duration_ms: int = FIVE_MINUTES_MS, every_ms: int = 2_500) -> tuple[Blow, ...]:
    return make_schedule(seed=seed, duration_ms=duration_ms, every_ms=every_ms, targets=TARGETS)


def test_a_seed_gives_the_same_schedule_again_and_another_seed_another_one() -> None:
    assert schedule(7) == schedule(7)
    assert len({schedule(seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(5))
def test_five_minutes_have_every_kind_of_blow_at_about_the_rate_asked_for(seed: int) -> None:
    blows = schedule(seed)
    assert 80 < len(blows) < 160
    assert {blow.kind for blow in blows} == {*KILLS, "pause_worker", "link", "bank_fault"}
    assert {blow.how for blow in blows if blow.kind == "link"} == set(LINK_FAULTS)
    assert {blow.how for blow in blows if blow.kind == "bank_fault"} <= set(BANK_FAULTS)
    assert {TILL_LINK, DATABASE_LINK, ALL_BANKS} < {blow.target for blow in blows if blow.kind == "link"}
    assert {blow.target for blow in blows if blow.kind == "kill_worker"} == {"0.0", "0.1", "1.0", "1.1"}


@pytest.mark.parametrize("seed", range(20))
def test_a_short_run_begins_with_a_kill_of_each_kind(seed: int) -> None:
    assert {blow.kind for blow in schedule(seed, every_ms=100)[: len(KILLS)]} == set(KILLS)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_hit_again_before_it_is_back_and_nothing_begins_at_the_very_end(seed: int) -> None:
    blows = schedule(seed, every_ms=700)
    assert list(blows) == sorted(blows, key=lambda blow: blow.at_ms)
    assert all(1_000 <= blow.at_ms < FIVE_MINUTES_MS - 500 + 1 for blow in blows)
    for target, group in itertools.groupby(sorted(blows, key=place), key=place):
        for before, after in itertools.pairwise(sorted(group, key=lambda blow: blow.at_ms)):
            assert after.at_ms >= before.at_ms + before.for_ms, target


def test_a_pause_lasts_longer_than_the_lease() -> None:
    pauses = [blow for blow in schedule(1) if blow.kind == "pause_worker"]
    assert pauses
    assert all(blow.for_ms > TARGETS.lease_ms for blow in pauses)


def place(blow: Blow) -> tuple[str, str]:
    if blow.kind == "link" and blow.target in {*BANKS, ALL_BANKS}:
        return "line", "banks"
    return ("worker" if blow.kind in {"kill_worker", "pause_worker"} else blow.kind), blow.target
