"""Limits of retrying, the address of the service, printing, and the public face of the package."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

import terminal_sdk
from terminal_sdk import InvalidRequest, RetryPolicy
from terminal_sdk.client import HttpTransport, NoAnswer
from terminal_sdk.client.retry import Patience, Tries

POLICY = RetryPolicy(sends_max=5, backoff_first_s=1.0, backoff_max_s=3.0, answer_timeout_s=6.0, retry_after_max_s=20.0)


class StillClock:
    """A clock that moves only by being slept on."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.sleeps: list[float] = []

    def now(self) -> dt.datetime:
        return dt.datetime(2019, 1, 2, tzinfo=dt.UTC) + dt.timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.sleeps.append(seconds)


def failure(retry_after_s: float | None = None, session_code: str | None = None) -> NoAnswer:
    return NoAnswer("x", perhaps_processed=True, retry_after_s=retry_after_s, session_code=session_code)


async def test_distances_double_up_to_their_limit_and_the_tries_end() -> None:
    clock = StillClock()
    tries = Tries(POLICY, Patience(clock, 100), lambda: 0.0)
    outcomes = [await tries.again(failure()) for _ in range(5)]
    assert outcomes == [True, True, True, True, False]
    assert clock.sleeps == [1.0, 2.0, 3.0, 3.0]


async def test_jitter_shortens_by_up_to_a_half() -> None:
    clock = StillClock()
    tries = Tries(POLICY, Patience(clock, 100), lambda: 1.0)
    await tries.again(failure())
    assert clock.sleeps == [0.5]


async def test_retry_after_is_obeyed_within_its_limit() -> None:
    clock = StillClock()
    tries = Tries(POLICY, Patience(clock, 100), lambda: 0.0)
    await tries.again(failure(retry_after_s=7))
    await tries.again(failure(retry_after_s=3_600))
    assert clock.sleeps == [7, 20.0]


async def test_patience_ends_the_tries_and_bounds_each_time_out() -> None:
    clock = StillClock()
    tries = Tries(POLICY, Patience(clock, 4.0), lambda: 0.0)
    assert tries.timeout_s(10) == 4.0
    assert await tries.again(failure())
    assert tries.timeout_s() == 3.0
    assert not await tries.again(failure(retry_after_s=3))
    assert clock.sleeps == [1.0]


async def test_a_session_is_renewed_at_once_but_not_twice_for_the_same_reason() -> None:
    clock = StillClock()
    tries = Tries(POLICY, Patience(clock, 100), lambda: 0.0)
    assert await tries.again(failure(session_code="SESSION_EXPIRED"))
    assert await tries.again(failure(session_code="CLOCK_SKEW"))
    assert not await tries.again(failure(session_code="CLOCK_SKEW"))
    assert tries.hopeless
    assert clock.sleeps == [0.0, 0.0]


@pytest.mark.parametrize(
    "address", ["pay.example", "ftp://pay.example", "http://pay.example/v1", "http://u:p@pay.example", "http://", "://"]
)
async def test_the_address_is_an_origin(address: str) -> None:
    with pytest.raises(InvalidRequest, match="base_url"):
        HttpTransport(address, connect_timeout_s=1, answer_bytes_max=1)


async def test_a_service_that_is_not_there_has_processed_nothing() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transport = HttpTransport(f"http://127.0.0.1:{port}", connect_timeout_s=5, answer_bytes_max=100)
    try:
        with pytest.raises(NoAnswer) as silence:
            await transport.exchange("GET", "/healthz", {}, b"", 10)
        assert not silence.value.perhaps_processed
    finally:
        await transport.close()


def test_every_public_name_is_there() -> None:
    for name in terminal_sdk.__all__:
        assert getattr(terminal_sdk, name) is not None
    with pytest.raises(AttributeError):
        getattr(terminal_sdk, "Nothing")  # noqa: B009  (a type checker would refuse the plain form)
