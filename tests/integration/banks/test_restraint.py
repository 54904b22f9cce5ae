"""What one bank may cost: turns of the event loop, memory, log lines, work begun; and that the others do not pay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import structlog

from settlement.banks.connection import Connection, Outgoing
from settlement.banks.iso.framing import frame
from settlement.banks.port import BankOutcome
from settlement.banks.restraint import BankLog
from settlement.banks.tuning import LinkTuning
from tests.integration.banks.conftest import CLOCK, FAST, World, until
from tests.integration.banks.test_faults import unmatched
from tests.unit.banks.test_circuit import PushedClock

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def connected(serve: Serve, connection: Connection) -> AsyncIterator[None]:
    """A connection to a server that does this."""
    writers: list[asyncio.StreamWriter] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: connection, "127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield
    finally:
        connection.close()
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


async def test_a_stream_of_frames_gets_its_share_of_each_turn_and_arrives_whole() -> None:
    bodies = [b"%d" % number for number in range(5_000)]

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(frame(body) for body in bodies))
        await writer.drain()

    tuning, got, turns = LinkTuning(frames_per_turn=16), [], [0]

    def took(body: bytes) -> None:
        got.append(body)
        turns[-1] += 1

    connection = Connection(clock=CLOCK, tuning=tuning, on_body=took, on_lost=lambda _: None)
    async with connected(serve, connection):
        async with asyncio.timeout(20):
            while len(got) < len(bodies):
                await asyncio.sleep(0)
                turns.append(0)
                # One read of the socket at most waits here; the rest stays with the peer.
                assert len(connection._splitter._buffer) <= 256 * 1_024
    assert got == bodies
    # A turn of this task sees one turn's frames, or two where the loop's order puts them both before it.
    assert max(turns) <= 2 * tuning.frames_per_turn


async def test_half_a_frame_behind_many_has_its_time_from_when_its_turn_comes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(frame(b"whole") for _ in range(500)) + frame(b"half")[:3])
        await reader.read()

    lost, got = [], []
    tuning = LinkTuning(frames_per_turn=1, frame_timeout_s=0.1)
    connection = Connection(clock=CLOCK, tuning=tuning, on_body=got.append, on_lost=lost.append)
    async with connected(serve, connection):
        await until(lambda: lost)
    assert (len(got), lost) == (500, ["slow_frame"])


async def test_a_peer_that_takes_no_bytes_is_given_up_and_nothing_waits_behind_it() -> None:
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await over.wait()

    lost, refusals = [], []
    connection = Connection(clock=CLOCK, tuning=LinkTuning(stall_timeout_s=0.5), on_body=print, on_lost=lost.append)
    async with connected(serve, connection):
        for number in range(200_000):
            connection.send(Outgoing(b"filler" * 150, None, refusals.append))
            if number % 50 == 0:
                await asyncio.sleep(0)
                if connection._paused:
                    break
        stood = len(connection._outbox)
        withdrawn, waiting = (Outgoing(b"more", None, refusals.append) for _ in range(2))
        connection.send(withdrawn)
        connection.send(waiting)
        connection.withdraw(withdrawn)
        assert list(connection._outbox)[stood:] == [waiting]
        await until(lambda: lost)
        over.set()
    assert lost == ["stalled"]
    assert refusals == ["stalled"] * (stood + 1)
    assert not waiting.written


async def test_answers_in_another_order_than_the_questions_are_told_apart(world: World) -> None:
    first, second = world.order(1_000), world.order(2_000)
    await world.fault("out_of_order", reference=first.identity.reference)
    answers = await asyncio.gather(*(world.links.debit(order, world.soon) for order in (first, second)))
    assert [answer.outcome for answer in answers] == [BankOutcome.APPROVED] * 2
    sent = [row.reference for row in await world.log(mti="0210", direction="sent")]
    booked = {item.identity.reference: item.authorisation for item in await world.books()}
    assert sorted(sent) == sorted(booked)
    for order, answer in zip((first, second), answers, strict=True):
        assert booked[order.identity.reference] == answer.authorisation


async def test_endless_duplicates_begin_no_work_and_cost_the_connection(make_world) -> None:
    world = await make_world(tuning=LinkTuning(backoff_first_s=0.02, stray_burst=100, stray_per_s=0.0), connected=True)
    before = unmatched("duplicate")
    await world.fault("duplicate", frames=5_000)
    assert (await world.links.debit(world.order(), world.soon)).outcome is BankOutcome.APPROVED
    await until(lambda: not world.state().ready)
    assert unmatched("duplicate") - before == 101  # the one beyond the allowance is the last that is looked at
    assert world.late == []
    await until(lambda: world.state().ready)
    assert (await world.links.debit(world.order(), world.soon)).outcome is BankOutcome.APPROVED


async def test_late_answers_are_evidence_and_no_strays(make_world) -> None:
    world = await make_world(tuning=LinkTuning(stray_burst=1, stray_per_s=0.0), timeout_ms=300)
    await world.fault("delay_ms", delay_ms=800, count=20)
    answers = await asyncio.gather(*(world.links.debit(world.order(), world.soon) for _ in range(20)))
    assert {answer.detail for answer in answers} == {"timeout"}
    await until(lambda: len(world.late) == 20)
    assert {late.answer.outcome for late in world.late} == {BankOutcome.APPROVED}
    assert world.state().ready


async def test_a_bank_that_contradicts_itself_or_its_request_is_an_alarm_and_no_evidence(world: World) -> None:
    before = unmatched("contradiction")
    with structlog.testing.capture_logs() as lines:
        await world.fault("contradict")
        assert (await world.links.debit(world.order(), world.soon)).outcome is BankOutcome.APPROVED
        await until(lambda: unmatched("contradiction") == before + 1)
        await world.fault("wrong_amount")
        assert (await world.links.debit(world.order(), world.soon)).detail == "wrong_amount"
    errors = [line["event"] for line in lines if line["log_level"] == "error"]
    assert errors == ["bank contradicts itself", "bank answer contradicts its request"]
    assert world.late == []


async def test_worthless_answers_open_the_circuit(make_world) -> None:
    world = await make_world(tuning=LinkTuning(circuit_threshold=3, key_change_pause_s=0.0))
    await world.fault("wrong_mac", count=None)
    said = [(await world.links.debit(world.order(), world.soon)).detail for _ in range(4)]
    assert said == ["bad_mac", "bad_mac", "bad_mac", "circuit_open"]


async def test_a_silent_bank_with_all_its_places_taken_refuses_at_once(make_world) -> None:
    world = await make_world(banks=("BOSC", "CCB"), max_in_flight=3, timeout_ms=2_000, tuning=FAST)
    await world.fault("drop_before_commit", bank="BOSC", count=None)
    waiting = [asyncio.create_task(world.links.debit(world.order(), world.soon)) for _ in range(3)]
    await until(lambda: world.state().in_flight == 3)
    refused = [await world.links.debit(world.order(), world.soon) for _ in range(50)]
    assert not any(task.done() for task in waiting)  # fifty refusals took less than one time-out
    assert {(answer.outcome, answer.detail) for answer in refused} == {(BankOutcome.NOT_SENT, "busy")}
    assert (await world.links.debit(world.order(bank="CCB"), world.soon)).outcome is BankOutcome.APPROVED
    await asyncio.gather(*waiting)


async def test_a_long_dead_bank_is_not_waited_for(make_world) -> None:
    world = await make_world(connected=False)
    await world.fault("accept_silent", count=None)
    patient = LinkTuning(connect_wait_s=0.5, connect_timeout_s=30, circuit_threshold=1_000)
    await world.connect(patient, wait_s=1.0)
    one_wait = asyncio.create_task(asyncio.sleep(patient.connect_wait_s))
    refused = [await world.links.debit(world.order(), world.soon) for _ in range(50)]
    assert not one_wait.done()
    assert {answer.detail for answer in refused} == {"not_connected"}
    await one_wait
    await world.links.stop(0.1)


@pytest.mark.parametrize("kinds", [1, 3])
def test_one_line_of_a_kind_and_the_number_of_those_kept_back(kinds: int) -> None:
    clock = PushedClock()
    bank_log = BankLog("BOSC", 10.0, clock)
    with structlog.testing.capture_logs() as lines:
        for _ in range(1_000):
            for kind in range(kinds):
                bank_log.say(logging.WARNING, "unmatched answer", kind=f"{kind}")
        clock.seconds += 10
        bank_log.say(logging.WARNING, "unmatched answer", kind="0")
    assert len(lines) == kinds + 1
    assert [line["kept_back"] for line in lines] == [0] * kinds + [999]
