"""The circuit breaker, on a clock that stands still unless it is pushed."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from settlement.banks.circuit import Circuit, CircuitState
from settlement.banks.tuning import LinkTuning


class PushedClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


TUNING = LinkTuning(circuit_threshold=3, circuit_cool_down_first_s=1, circuit_cool_down_most_s=4)


def make() -> tuple[Circuit, PushedClock, list[CircuitState]]:
    clock, seen = PushedClock(), []
    return Circuit(TUNING, clock, seen.append), clock, seen


def open_one() -> tuple[Circuit, PushedClock, list[CircuitState]]:
    circuit, clock, seen = make()
    for _ in range(3):
        circuit.failure(spell(circuit))
    return circuit, clock, seen


def spell(circuit: Circuit) -> int:
    admitted = circuit.admit()
    assert admitted is not None
    return admitted


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    circuit, _, seen = make()
    now = spell(circuit)
    for _ in range(2):
        circuit.failure(now)
    circuit.success(now)
    for _ in range(2):
        circuit.failure(now)
    assert circuit.admit() is not None
    circuit.failure(now)
    assert circuit.admit() is None
    assert seen == [CircuitState.OPEN]


def test_failures_of_connects_count_too() -> None:
    circuit, _, _ = make()
    for _ in range(3):
        circuit.failure()
    assert circuit.state is CircuitState.OPEN


def test_a_late_success_does_not_close_it() -> None:
    circuit, _, _ = make()
    before = spell(circuit)
    for _ in range(3):
        circuit.failure(before)
    circuit.success(before)
    assert circuit.state is CircuitState.OPEN


def test_the_wait_before_a_probe_doubles_up_to_its_limit() -> None:
    circuit, clock, _ = make()
    assert circuit.probe_wait_s() is None
    for _ in range(3):
        circuit.failure()
    waits = []
    for _ in range(4):
        wait = circuit.probe_wait_s()
        waits.append(wait)
        clock.seconds += wait or 0
        assert circuit.probe_wait_s() == 0
        circuit.probe_failed()
        assert circuit.admit() is None
    assert waits == [1, 2, 4, 4]


def test_a_probe_before_its_time_changes_nothing() -> None:
    circuit, clock, _ = open_one()
    clock.seconds += 0.5
    circuit.probe_passed()
    assert circuit.state is CircuitState.OPEN


def test_after_a_probe_a_few_messages_at_a_time_and_the_first_answer_closes_it() -> None:
    circuit, clock, seen = open_one()
    clock.seconds += 1
    circuit.probe_passed()
    trials = [spell(circuit) for _ in range(3)]
    assert circuit.admit() is None
    circuit.leave(trials[0])
    assert circuit.admit() is not None
    assert circuit.admit() is None
    circuit.success(trials[1])
    assert all(circuit.admit() is not None for _ in range(100))
    assert seen == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]


def test_a_failed_trial_opens_it_for_longer() -> None:
    circuit, clock, _ = open_one()
    for wait in (1, 2, 4, 4):
        assert circuit.probe_wait_s() == wait
        clock.seconds += wait
        circuit.probe_passed()
        circuit.failure(spell(circuit))
        assert circuit.state is CircuitState.OPEN


def test_a_trial_that_passes_forgets_the_long_wait() -> None:
    circuit, clock, _ = open_one()
    clock.seconds += 1
    circuit.probe_passed()
    circuit.failure(spell(circuit))
    clock.seconds += 2
    circuit.probe_passed()
    circuit.success(spell(circuit))
    for _ in range(3):
        circuit.failure(spell(circuit))
    assert circuit.probe_wait_s() == 1


def test_what_was_sent_before_says_nothing_about_the_trial() -> None:
    circuit, clock, _ = make()
    before = spell(circuit)
    for _ in range(3):
        circuit.failure(before)
    clock.seconds += 1
    circuit.probe_passed()
    circuit.failure(before)  # two hundred more time out together
    circuit.leave(before)
    circuit.success(before)
    assert circuit.state is CircuitState.HALF_OPEN
    assert [circuit.admit() is not None for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.sampled_from(["admit", "leave", "success", "failure", "lost", "passed", "failed", "wait"])))
def test_whatever_happens_it_recovers_and_never_lets_too_many_through(steps: list[str]) -> None:
    circuit, clock, _ = make()
    under_way: list[int] = []

    def take(step: str) -> None:
        if step == "admit" and (admitted := circuit.admit()) is not None:
            under_way.append(admitted)
        elif step in {"leave", "success", "failure"} and under_way:
            number = under_way.pop()
            if step == "success":
                circuit.success(number)
            elif step == "failure":
                circuit.failure(number)
            circuit.leave(number)
        elif step == "lost":
            circuit.failure()
        elif step == "passed":
            circuit.probe_passed()
        elif step == "failed":
            circuit.probe_failed()
        elif step == "wait":
            clock.seconds += 1

    for step in steps:
        take(step)
        if circuit.state is CircuitState.HALF_OPEN:
            room = 0
            while room < 10 and (admitted := circuit.admit()) is not None:
                under_way.append(admitted)
                room += 1
            assert room <= 3
    # The bank is well again: within the longest wait a probe passes, and one answered message closes the circuit.
    while under_way:
        take("leave")
    clock.seconds += 4
    circuit.probe_passed()
    circuit.success(spell(circuit))
    assert circuit.state is CircuitState.CLOSED
