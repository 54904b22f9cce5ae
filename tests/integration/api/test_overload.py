"""Above capacity: refused early, signed, in order of urgency; whoever floods is limited alone."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import structlog

from settlement.api import Limits
from settlement.api.examples import REQUESTS
from settlement.api.line import LineLimits
from terminal_sdk import wire
from terminal_sdk.signing import MAC_HEADER
from tests.integration.api.conftest import Serve
from tests.integration.api.test_limits import BODY, MEGABYTE, PATH, connection, raw_request, until
from tests.support.api import Answered, Api, running_api
from tests.support.terminals import SignedIn, TerminalWorld

ONE_PLACE = LineLimits(places=1, places_reserved=0, places_per_terminal=1, waiting_max=8, patience_s=30)
KEY = f"{PATH}?idempotency_key=KEY-0001-0001"
REVERSAL = wire.encode(REQUESTS["reverseByKey"])


async def fill(api: Api, till: SignedIn, count: int) -> list[asyncio.Task[Answered]]:
    """So many bills at once while the engine does not answer; those beyond the places stand in line."""
    api.engine.gate.clear()
    tasks = []
    for number in range(1, count + 1):
        tasks.append(asyncio.create_task(api.signed(till, "POST", PATH, BODY)))
        await until(lambda number=number: api.admission.line.working + api.admission.line.waiting == number)  # type: ignore[misc]
    return tasks


async def release(api: Api, tasks: list[asyncio.Task[Answered]]) -> list[int]:
    api.engine.gate.set()
    return [answer.status for answer in await asyncio.gather(*tasks)]


async def test_a_bill_that_cannot_be_served_in_time_is_refused_before_the_database_is_asked(
    serve: Serve, till: SignedIn
) -> None:
    api = await serve(Limits(line=LineLimits(places=1, places_reserved=0, waiting_max=8, patience_s=0.05)))
    tasks = await fill(api, till, 1)
    await until(lambda: len(api.engine.calls) == 1)
    before = await api.world.books()
    refused = await api.signed(till, "POST", PATH, BODY)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "OVERLOADED", "1")
    assert refused.json["error"]["retry_after_ms"] == 1_000
    assert MAC_HEADER in refused.headers
    assert (len(api.engine.calls), await api.world.books()) == (1, before)
    assert await release(api, tasks) == [200]
    assert (await api.signed(till, "POST", PATH, BODY)).status == 200


async def test_taking_back_and_asking_go_before_new_bills(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(line=ONE_PLACE))
    other = await (await api.world.till("TILL0002")).sign_in()
    tasks = await fill(api, till, 3)
    tasks.append(asyncio.create_task(api.signed(other, "GET", KEY)))
    await until(lambda: api.admission.line.waiting == 3)
    tasks.append(asyncio.create_task(api.signed(other, "POST", "/v1/reversals", REVERSAL)))
    await until(lambda: api.admission.line.waiting == 4)
    assert await release(api, tasks) == [200] * 5
    assert [name for name, *_ in api.engine.calls] == ["settle", "reverseByKey", "settlementByKey", "settle", "settle"]


async def test_one_terminals_crowd_does_not_keep_another_waiting(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(line=LineLimits(places=2, places_reserved=0, places_per_terminal=1, patience_s=30)))
    other = await (await api.world.till("TILL0002")).sign_in()
    await api.signed(till, "GET", KEY)  # from its first request on a session is known as its terminal's
    api.engine.calls.clear()
    tasks = await fill(api, till, 6)
    tasks.append(asyncio.create_task(api.signed(other, "POST", PATH, BODY)))
    await until(lambda: len(api.engine.calls) == 2)
    assert [terminal for _, terminal, _ in api.engine.calls] == ["TILL0001", "TILL0002"]
    assert await release(api, tasks) == [200] * 7


async def test_whoever_asks_too_often_is_refused_slowly_and_alone(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(terminal_rate=0.001, terminal_burst=2, hold_back_s=2, held_back_max=1))
    other = await (await api.world.till("TILL0002")).sign_in()
    # Three: until its first request a session is not known as its terminal's.
    assert [(await api.signed(till, "GET", KEY)).status for _ in range(3)] == [200, 200, 200]
    held = asyncio.create_task(api.signed(till, "GET", KEY))
    await until(lambda: api.admission._held_back == 1)
    refused = await api.signed(till, "GET", KEY)  # no more than one is held back
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "TERMINAL_FLOODING", "1")
    assert not held.done()
    assert (await api.signed(other, "GET", KEY)).status == 200
    held.cancel()


async def test_waiting_for_a_bank_takes_no_place(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(line=ONE_PLACE, parked_per_bank_max=2))
    api.engine.bank = "ICBC"
    api.engine.gate.clear()
    waiting = [asyncio.create_task(api.signed(till, "POST", PATH, BODY)) for _ in range(2)]
    await until(lambda: len(api.engine.calls) == 2)  # with one place only
    assert api.admission.line.working == 0
    api.engine.bank = None
    api.engine.gate.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert api.admission.in_flight == 0
    assert not api.admission._parked


async def test_too_many_who_wait_for_one_bank_are_answered_at_once(serve: Serve, till: SignedIn) -> None:
    """Settled or not, nothing is refused: the till asks for the status later."""
    api = await serve(Limits(parked_per_bank_max=2))
    api.engine.bank = "ICBC"
    api.engine.gate.clear()
    waiting = [asyncio.create_task(api.signed(till, "POST", PATH, BODY)) for _ in range(2)]
    await until(lambda: len(api.engine.calls) == 2)
    third = await api.signed(till, "POST", PATH, BODY)
    assert (third.status, third.json["state"], third.headers["Retry-After"]) == (202, "pending", "1")
    api.engine.bank = "ABC"
    waiting.append(asyncio.create_task(api.signed(till, "POST", PATH, BODY)))
    await until(lambda: len(api.engine.calls) == 3)  # another bank's room is its own
    assert not waiting[-1].done()
    assert await release(api, waiting) == [200] * 3


async def test_a_large_body_of_a_bill_is_refused_unread_when_bills_cannot_be_served(
    serve: Serve, till: SignedIn
) -> None:
    api = await serve(Limits(line=LineLimits(places=1, places_reserved=0, patience_s=30.0)))
    tasks = await fill(api, till, 2)
    api.admission.line._queues[max(api.admission.line._queues)].standing_since = -1e9  # as if for long
    async with connection(api) as (reader, writer):
        writer.write(raw_request(till, f"Content-Length: {MEGABYTE}") + b"{")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503")
    assert await release(api, tasks) == [200] * 2


async def test_large_bodies_have_few_places(serve: Serve, till: SignedIn) -> None:
    api = await serve(Limits(receiving_large_max=1))
    async with contextlib.AsyncExitStack() as stack:
        _, writer = await stack.enter_async_context(connection(api))
        writer.write(raw_request(till, f"Content-Length: {MEGABYTE}") + b"{")
        async with asyncio.timeout(10):
            while (await api.signed(till, "POST", PATH, BODY + b" " * 100_000)).code != "OVERLOADED":
                await asyncio.sleep(0.005)
        assert (await api.signed(till, "POST", PATH, BODY)).status == 200


async def test_refusals_are_counted_and_told_now_and_then(
    serve: Serve, till: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.api.middleware._SHED_TOLD_EVERY_S", 0.2)
    api = await serve(Limits(in_flight_max=1))
    with structlog.testing.capture_logs() as logs:
        tasks = await fill(api, till, 1)
        for _ in range(5):
            assert (await api.signed(till, "POST", PATH, BODY)).status == 503
        await until(lambda: sum(entry["count"] for entry in logs if entry["event"] == "requests refused") == 5)
        assert await release(api, tasks) == [200]
    assert {(entry["code"], entry["route"]) for entry in logs if "count" in entry} == {("OVERLOADED", PATH)}
    assert [entry["code"] for entry in logs if entry["event"] == "request"] == [None]


async def test_refusals_are_told_before_the_application_ends(world: TerminalWorld) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_api(world, Limits(in_flight_max=1)) as api:
            till = await (await world.till()).sign_in()
            tasks = await fill(api, till, 1)
            assert (await api.signed(till, "POST", PATH, BODY)).status == 503
            assert await release(api, tasks) == [200]
    assert [entry["count"] for entry in logs if entry["event"] == "requests refused"] == [1]
