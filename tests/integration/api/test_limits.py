"""What is too much, too large or too slow is refused early and clearly; what has begun is never cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from settlement.api import Limits
from settlement.api.examples import REQUESTS
from settlement.errors import ServiceError
from terminal_sdk import wire
from terminal_sdk.signing import MAC_HEADER
from tests.integration.api.conftest import Serve
from tests.support.api import Api
from tests.support.terminals import SignedIn

BODY = wire.encode(REQUESTS["settle"])
PATH = "/v1/settlements"
MEGABYTE = 1_048_576


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens on its own: so many looks, not so much time, for a machine may stand still."""
    for _ in range(4_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError("it did not happen")


def raw_request(till: SignedIn, *extra: str) -> bytes:
    """The head of a settlement, as bytes."""
    headers = till.headers("POST", PATH, BODY) | {"Host": "localhost", "Content-Type": "application/json"}
    lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), *extra, "", ""]
    return "\r\n".join(lines).encode()


@contextlib.asynccontextmanager
async def connection(api: Api) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def test_the_service_is_full(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(in_flight_max=4))
    api.engine.gate.clear()
    waiting = [asyncio.create_task(api.signed(till, "POST", PATH, BODY)) for _ in range(4)]
    await until(lambda: len(api.engine.calls) == 4)
    refused = await api.signed(till, "POST", PATH, BODY)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "OVERLOADED", "1")
    assert MAC_HEADER in refused.headers  # a till may rely on it: nothing was begun
    assert (await api.plain("GET", "/healthz")).status == 200
    assert (await api.plain("GET", "/readyz")).status == 200
    challenge = await api.plain("POST", "/v1/sessions/challenge", b'{"terminal_id":"TILL0001"}')
    assert challenge.status == 200
    api.engine.gate.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 4
    assert (await api.signed(till, "POST", PATH, BODY)).status == 200


async def test_a_flooding_terminal_is_limited_alone(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(in_flight_per_terminal_max=2))
    other = await (await api.world.till("TILL0002")).sign_in()
    await api.signed(till, "POST", PATH, BODY)
    api.engine.gate.clear()
    waiting = [asyncio.create_task(api.signed(till, "POST", PATH, BODY)) for _ in range(2)]
    await until(lambda: len(api.engine.calls) == 3)
    nonces = (await api.world.books())["request_nonce"]
    refused = await api.signed(till, "POST", PATH, BODY)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "TERMINAL_FLOODING", "1")
    assert (await api.world.books())["request_nonce"] == nonces  # refused before the database is asked
    waiting.append(asyncio.create_task(api.signed(other, "POST", PATH, BODY)))
    await until(lambda: len(api.engine.calls) == 4)
    api.engine.gate.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3


async def test_a_hundred_at_once_are_all_answered(api: Api) -> None:
    tills = [await (await api.world.till(f"TILL{n:04}")).sign_in() for n in range(5)]
    answers = await asyncio.gather(*(api.signed(tills[n % 5], "POST", PATH, BODY) for n in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 100
    assert len(api.engine.calls) == 100


async def test_a_body_that_is_too_large_by_its_own_word(api: Api, till: SignedIn) -> None:
    answer = await api.signed(till, "POST", PATH, b" " * (10 * MEGABYTE))
    assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
    assert (await api.signed(till, "POST", PATH, BODY)).status == 200


async def test_a_body_of_just_the_largest_size(api: Api, till: SignedIn) -> None:
    padding = b" " * (MEGABYTE - len(BODY))
    assert (await api.signed(till, "POST", PATH, BODY + padding)).status == 200
    assert (await api.signed(till, "POST", PATH, BODY + padding + b" ")).code == "BODY_TOO_LARGE"


async def test_a_body_of_unknown_length_is_cut_off_and_answered_while_the_client_still_sends(
    api: Api, till: SignedIn
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b" " * 65_536

    headers = till.headers("POST", PATH) | {"Content-Type": "application/json"}
    async with api.http.post(api.url + PATH, data=endless(), headers=headers) as response:
        assert response.status == 413
        assert json.loads(await response.read())["error"]["code"] == "BODY_TOO_LARGE"
    assert (await api.plain("GET", "/healthz")).status == 200


async def test_who_asks_before_sending_learns_at_once_that_it_is_too_large(api: Api, till: SignedIn) -> None:
    async with connection(api) as (reader, writer):
        writer.write(raw_request(till, f"Content-Length: {10 * MEGABYTE}", "Expect: 100-continue"))
        status, _, body = await answer_of(reader)
        assert (status, json.loads(body)["error"]["code"]) == (413, "BODY_TOO_LARGE")


async def test_who_asks_before_sending_is_invited(api: Api, till: SignedIn) -> None:
    async with connection(api) as (reader, writer):
        writer.write(raw_request(till, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await answer_of(reader))[0] == 200


async def test_a_body_that_does_not_arrive(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(body_timeout_s=0.05))
    async with connection(api) as (reader, writer):
        writer.write(raw_request(till, f"Content-Length: {len(BODY)}") + BODY[:10])
        status, headers, body = await answer_of(reader)
        assert (status, json.loads(body)["error"]["code"]) == (408, "BODY_TOO_SLOW")
        assert headers["connection"] == "close"
    assert api.engine.calls == []


async def test_a_body_framed_wrongly(api: Api, till: SignedIn) -> None:
    async with connection(api) as (reader, writer):
        writer.write(raw_request(till, "Transfer-Encoding: chunked") + b"nonsense\r\n")
        status, _, _ = await answer_of(reader)
        assert status == 400
    assert api.engine.calls == []


async def test_slow_bodies_do_not_take_the_places_of_bills(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(in_flight_max=2, receiving_max=8))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            _, writer = await stack.enter_async_context(connection(api))
            writer.write(raw_request(till, f"Content-Length: {len(BODY)}") + BODY[:10])
        assert (await api.signed(till, "POST", PATH, BODY)).status == 200


async def test_a_handler_that_takes_too_long_is_answered_and_goes_on(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(handler_timeout_s=0.05, in_flight_max=1))
    api.engine.gate.clear()
    answer = await api.signed(till, "POST", PATH, BODY)
    assert (answer.status, answer.code) == (504, "TIMED_OUT")
    assert (await api.signed(till, "POST", PATH, BODY)).code == "OVERLOADED"  # it is still counted
    api.engine.gate.set()
    await until(lambda: api.engine.finished == 1)
    assert api.engine.cancelled == 0


async def test_a_late_failure_is_logged_and_harms_nobody(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(handler_timeout_s=0.05))
    api.engine.gate.clear()
    api.engine.error = RuntimeError("late")
    with structlog.testing.capture_logs() as logs:
        assert (await api.signed(till, "POST", PATH, BODY)).code == "TIMED_OUT"
        api.engine.gate.set()
        await until(lambda: any(entry["event"] == "late failure" for entry in logs))


async def test_a_till_that_hangs_up_does_not_cancel_its_settlement(api: Api, till: SignedIn) -> None:
    api.engine.gate.clear()
    async with connection(api) as (_, writer):
        writer.write(raw_request(till, f"Content-Length: {len(BODY)}") + BODY)
        await until(lambda: len(api.engine.calls) == 1)
    assert (await api.plain("GET", "/healthz")).status == 200
    await asyncio.sleep(0.05)
    assert (api.engine.finished, api.engine.cancelled) == (0, 0)
    api.engine.gate.set()
    await until(lambda: api.engine.finished == 1)
    assert api.engine.cancelled == 0


@pytest.mark.parametrize("path", ["/v1/terminals/enrol", "/v1/sessions"])
async def test_sign_ins_have_places_of_their_own(serve: Serve, till: SignedIn, path: str) -> None:
    api = await serve(Limits(sign_in_max=1))
    async with connection(api) as (_, writer):
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n".encode())
        async with asyncio.timeout(10):
            while (await api.plain("POST", "/v1/sessions/challenge", b"{}")).code != "OVERLOADED":
                await asyncio.sleep(0.005)
        assert (await api.signed(till, "POST", PATH, BODY)).status == 200


@pytest.mark.parametrize("code", ["NOT_READY", "OVERLOADED"])
async def test_503_promises_that_nothing_was_begun(api: Api, till: SignedIn, code: str) -> None:
    """Once the engine was asked to move money nobody can promise that, so it is not said."""
    api.engine.error = ServiceError(code, retry_after_ms=2_000)
    answer = await api.signed(till, "POST", PATH, BODY)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (504, "OUTCOME_UNKNOWN", "2")
    answer = await api.signed(till, "GET", f"{PATH}?idempotency_key=KEY-0001-0001")
    assert (answer.status, answer.code) == (503, code)
