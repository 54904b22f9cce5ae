"""Counting what is under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from settlement.api.limits import Admission, Limits
from settlement.config import Settings
from settlement.errors import ServiceError


def refusal(admission: Admission, terminal: str) -> str:
    with pytest.raises(ServiceError) as caught:
        admission.enter(terminal)
    assert caught.value.retry_after_ms == 1_000
    return caught.value.code


def test_a_place_is_given_back_once() -> None:
    admission = Admission(Limits(in_flight_max=2))
    first, second = admission.enter("A"), admission.enter("B")
    assert refusal(admission, "C") == "OVERLOADED"
    first.release()
    first.release()
    assert admission.in_flight == 1
    admission.enter("C")
    assert refusal(admission, "A") == "OVERLOADED"
    second.release()
    assert admission.in_flight == 1


def test_one_terminal_reaches_its_own_limit_first() -> None:
    admission = Admission(Limits(in_flight_max=100, in_flight_per_terminal_max=2))
    slots = [admission.enter("A"), admission.enter("A")]
    assert refusal(admission, "A") == "TERMINAL_FLOODING"
    admission.enter("B")
    slots[0].release()
    admission.enter("A")


def test_terminals_that_are_gone_leave_no_trace() -> None:
    admission = Admission(Limits())
    for n in range(1_000):
        admission.enter(str(n)).release()
    assert not admission._in_flight


def test_a_closed_service_takes_nothing_new() -> None:
    admission = Admission(Limits())
    admission.close()
    assert refusal(admission, "A") == "NOT_READY"
    with pytest.raises(ServiceError, match="NOT_READY"), admission.signing_in():
        pass


@pytest.mark.parametrize(
    ("most", "per_terminal", "sign_in"), [(1, 1, 1), (8, 2, 2), (512, 128, 64), (10_000, 2_500, 64)]
)
def test_limits_follow_from_the_settings(most: int, per_terminal: int, sign_in: int) -> None:
    limits = Limits.of(Settings(data_dir=Path("/x"), max_in_flight=most, max_body_bytes=2_048))
    assert (limits.in_flight_max, limits.in_flight_per_terminal_max, limits.sign_in_max) == (
        most,
        per_terminal,
        sign_in,
    )
    assert limits.body_bytes_max == 2_048
