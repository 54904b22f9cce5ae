"""The circuit breaker, on a clock that stands still unless it is pushed."""

import datetime as dt

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


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    circuit, _, seen = make()
    circuit.failure()
    circuit.failure()
    circuit.success()
    circuit.failure()
    circuit.failure()
    assert circuit.lets_through
    circuit.failure()
    assert not circuit.lets_through
    assert seen == [CircuitState.OPEN]


def test_a_late_success_does_not_close_it() -> None:
    circuit, _, _ = make()
    for _ in range(3):
        circuit.failure()
    circuit.success()
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
        circuit.probing()
        assert not circuit.lets_through
        circuit.failure()
    assert waits == [1, 2, 4, 4]


def test_a_probe_that_passes_closes_it_and_forgets() -> None:
    circuit, clock, seen = make()
    for _ in range(3):
        circuit.failure()
    clock.seconds += 1
    circuit.probing()
    circuit.close()
    assert circuit.lets_through
    assert seen == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]
    circuit.failure()
    circuit.failure()
    assert circuit.lets_through
    circuit.failure()
    assert circuit.probe_wait_s() == 1
