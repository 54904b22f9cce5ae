"""The plan: the same again for a seed, cards used in the order of their counters, arrivals in the shape asked for."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from loadtest.plan import Arrival, Plan, make_plan
from loadtest.population import Patient
from loadtest.prepared import WINDOW_S, CardKey
from loadtest.shapes import SHAPES, Profile
from loadtest.users import USERS

KINDS = [user.kind for user in USERS]
BANKS = ("ABC", "ICBC", "SRCB")


def a_plan(seed: int = 7, *, run: str = "L1", patients: int | None = None, hot_share: float = 0.2) -> Plan:
    profile = Profile("steady", 60, 20)
    return make_plan(
        seed=seed,
        profile=profile,
        kinds=KINDS,
        tills=20,
        run=run,
        banks=BANKS,
        patients=patients,
        hot_share=hot_share,
    )


def by_card(plan: Plan) -> dict[int, list[Arrival]]:
    cards: dict[int, list[Arrival]] = defaultdict(list)
    for arrival in plan.arrivals:
        cards[arrival.patient].append(arrival)
    return cards


def test_a_seed_gives_the_same_plan_again_and_another_seed_another() -> None:
    assert a_plan() == a_plan()
    assert a_plan(8).arrivals != a_plan().arrivals
    one, other = a_plan(), a_plan(run="L2")
    assert {arrival.visit_no for arrival in one.arrivals}.isdisjoint(arrival.visit_no for arrival in other.arrivals)
    assert [(each.at_ms, each.wish, each.patient) for each in one.arrivals] == [
        (each.at_ms, each.wish, each.patient) for each in other.arrivals
    ]


@pytest.mark.parametrize("patients", [None, 50])
def test_a_cards_counter_rises_by_one_with_each_of_its_arrivals(patients: int | None) -> None:
    plan = a_plan(patients=patients)
    cards = by_card(plan)
    assert len(plan.patients) >= len(cards)
    for arrivals in cards.values():
        assert [each.counter for each in arrivals] == list(range(1, len(arrivals) + 1))
        assert [each.after for each in arrivals] == [None, *(each.number for each in arrivals[:-1])]
        assert [each.at_ms for each in arrivals] == sorted(each.at_ms for each in arrivals)


def test_cold_cards_come_once_and_hot_ones_again_and_again() -> None:
    plan = a_plan()
    for patient, arrivals in by_card(plan).items():
        assert {each.hot for each in arrivals} == {patient < plan.hot_cards}
        if patient >= plan.hot_cards:
            assert len(arrivals) == 1
    hot = [each for each in plan.arrivals if each.hot]
    assert len(hot) > 3 * plan.hot_cards
    assert 0.1 < len(hot) / len(plan.arrivals) < 0.3


def test_without_hot_cards_everybody_comes_once() -> None:
    plan = a_plan(hot_share=0.0)
    assert plan.hot_cards == 0
    assert all(len(arrivals) == 1 for arrivals in by_card(plan).values())


def test_each_kind_has_its_share_and_each_terminal_its_turn() -> None:
    plan = a_plan()
    assert sum(map(len, plan.terminals.values())) == 20
    for kind in KINDS:
        mine = [each for each in plan.arrivals if each.kind == kind.name]
        assert kind.share * 0.7 < len(mine) / len(plan.arrivals) < kind.share * 1.3
        assert {each.terminal_id for each in mine} == set(plan.terminals[kind.name])
    assert {spec.bank_code for spec in plan.patients} == set(BANKS)


def test_a_proof_is_ordered_for_its_planned_moment() -> None:
    plan = a_plan()
    card = CardKey(card_number="ABC123DEF", fingerprint="ab" * 32, private_key=b"\x01" * 32, pan="6222021234567890128")
    start_ms = 1_800_000_000_000
    for arrival in plan.arrivals:
        order = arrival.order(Patient(spec=plan.patients[arrival.patient], card=card), start_ms)
        assert order.signed_at_ms == start_ms + arrival.at_ms
        assert order.total_fen == sum(line.amount_fen for line in arrival.wish.lines)
        assert (order.agreed == "quote") == arrival.wish.quoted
        assert order.counter == arrival.counter
    assert WINDOW_S < 300


@pytest.mark.parametrize("shape", SHAPES)
def test_arrivals_follow_the_shape(shape: str) -> None:
    profile = Profile(shape, 400, 50)
    moments = list(profile.arrivals_ms(random.Random(3)))
    assert moments == sorted(moments)
    assert 0 <= moments[0] <= moments[-1] < 400_000
    for begin in range(0, 400, 40):
        seen = sum(1 for each in moments if begin * 1_000 <= each < (begin + 40) * 1_000)
        expected = sum(profile.rate_at(second + 0.5) for second in range(begin, begin + 40))
        assert abs(seen - expected) < 5 * expected**0.5, (begin, seen, expected)


def test_the_ramp_rises_to_its_peak_and_ebbs_away() -> None:
    ramp = Profile("ramp", 100, 40)
    assert [round(ramp.rate_at(moment), 1) for moment in (0, 15, 30, 45, 80, 100)] == [4, 4, 22, 40, 40, 20]
    assert [round(ramp.peak_until(moment), 1) for moment in (0, 30, 60, 100, 500)] == [4, 22, 40, 40, 40]
    assert ramp.rate_at(101) == 0
