"""The figures: shares of all bills, lateness that is the generator's own, CPU by the difference of two readings."""

from __future__ import annotations

import dataclasses

from loadtest import figures
from loadtest.figures import Reading, quantile
from loadtest.visits import Visit
from tests.loadtest.test_books import a_visit, declined, refused, settled, taken_back, unknown


def at(visit: Visit, settled_ms: float | None, *, planned_ms: int = 0, due_ms: float = 0, began_ms: float = 0) -> Visit:
    visit.arrival = dataclasses.replace(visit.arrival, at_ms=planned_ms)
    visit.settled_ms, visit.due_ms, visit.started_ms = settled_ms, due_ms or planned_ms, began_ms or planned_ms
    return visit


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0], 0.99) == 3.0
    values = [float(number) for number in range(100, 0, -1)]
    assert [quantile(values, part) for part in (0, 0.5, 0.9, 0.99, 1)] == [1, 50, 90, 99, 100]


def test_settled_within_is_a_share_of_all_bills_but_the_declined_and_from_the_planned_tap() -> None:
    visits = [
        at(settled(1), 10_150, planned_ms=10_000),
        at(settled(2), 10_600, planned_ms=10_000),
        at(settled(3), 13_000, planned_ms=10_000, began_ms=12_950),  # the generator's lateness does not hide
        declined(4),
        refused(5),
        unknown(6),
    ]
    figure = figures.settling(visits)
    assert (figure["bills"], figure["settled"]) == (5, 3)
    assert figure["within"] == {"200": 0.2, "500": 0.2, "1000": 0.4, "2000": 0.4, "5000": 0.6}
    assert (figure["p50_ms"], figure["max_ms"]) == (600.0, 3_000.0)
    groups = figures.settling_by_group(visits)
    assert groups["account and bank"]["bills"] == 3
    assert groups["account only"] == figures.settling([])
    assert groups["cold accounts"] == groups["all"] == groups["till: desk"] == figure


def test_outcomes_first_and_last_and_what_failed() -> None:
    late = unknown(2)
    late.note(settled(2).result, 5_000)  # type: ignore[arg-type]
    figure = figures.outcomes([settled(1), late, taken_back(3), declined(4), refused(5), unknown(6), a_visit(7)])
    assert figure["first"]["not yet known"] == 2
    assert figure["final"] == {
        "settled": 2,
        "reversed": 1,
        "declined": 1,
        "refused CARD_LOST": 1,
        "not yet known": 1,
        "never answered": 1,
    }
    assert (figure["failed"], figure["failed_share"]) == (3, 0.42857)
    assert late.settled_ms == 5_000
    assert figures.reversals([settled(1), taken_back(2)]) == {"asked": 1, "done": 1, "keys_repeated": 0}


def test_a_generator_that_falls_behind_is_told_of() -> None:
    good = [at(settled(number), 100, planned_ms=1_000, began_ms=1_050) for number in range(100)]
    assert figures.generator(good, 100, 0.5)["troubles"] == []
    late = [*good, *(at(settled(number), 100, planned_ms=1_000, began_ms=1_051) for number in range(2))]
    (trouble,) = figures.generator(late, 102, 0.5)["troubles"]
    assert trouble.startswith("2.0% of the bills began more than 50 ms")
    waiting = [at(settled(1), 100, planned_ms=1_000, due_ms=9_000, began_ms=9_001)]  # its card was in another reader
    figure = figures.generator(waiting, 2, 0.9)
    assert figure["card_in_use_elsewhere"] == 1
    assert figure["troubles"] == [
        "1 of 2 planned arrivals were not served",
        "it used 0.90 of the one core that a Python process can use",
    ]


def test_cpu_is_the_difference_of_two_readings() -> None:
    begin = Reading(at_ms=5, cpu_s={"service": 10.0, "generator": 1.0})
    end = Reading(at_ms=10_005, cpu_s={"service": 15.0, "generator": 1.5})
    assert figures.cpu(begin, end, 1_000) == {
        "service": {"seconds": 5.0, "cores": 0.5, "ms_per_settled_bill": 5.0},
        "generator": {"seconds": 0.5, "cores": 0.05, "ms_per_settled_bill": 0.5},
    }
    assert figures.cpu(begin, end, 0)["service"]["ms_per_settled_bill"] is None


def test_the_timeline_has_every_second() -> None:
    visits = [at(settled(1), 2_500, planned_ms=300), at(settled(2), 400, planned_ms=200), a_visit(3)]
    assert figures.timeline(visits, 2) == [
        {"second": 0, "arrived": 3, "settled": 1, "slowest_ms": 2_200},
        {"second": 1, "arrived": 0, "settled": 0, "slowest_ms": 0},
        {"second": 2, "arrived": 0, "settled": 1, "slowest_ms": 0},
    ]
