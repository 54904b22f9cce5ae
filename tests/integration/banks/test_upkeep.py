"""Keeping links up: circuit breaker, reconnecting, echo, wrong keys, and what the socket has really been given."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets

import pytest

from settlement.banks.connection import Connection, Outgoing
from settlement.banks.iso.framing import FrameSplitter, frame
from settlement.banks.port import BankOutcome
from settlement.banks.tuning import LinkTuning
from tests.integration.banks.conftest import approved

APPROVED, UNKNOWN, NOT_SENT = BankOutcome.APPROVED, BankOutcome.UNKNOWN, BankOutcome.NOT_SENT
EAGER = LinkTuning(
    circuit_threshold=3,
    circuit_cool_down_first_s=0.05,
    circuit_cool_down_most_s=0.1,
    echo_timeout_s=0.3,
    backoff_first_s=0.02,
    backoff_most_s=0.1,
    connect_wait_s=0.1,
    probes_before_reconnect=1_000,
)


async def test_time_outs_open_the_circuit_and_an_answered_message_closes_it(make_world, wait_until) -> None:
    world = await make_world(tuning=EAGER, timeout_ms=300)
    await world.fault("drop_before_commit", count=None)
    await world.fault("drop_before_commit", mti="0800", count=None)
    for _ in range(3):
        assert (await world.links.debit(world.order(), world.soon)).outcome is UNKNOWN
    assert world.state().circuit != "closed"

    refused = await world.links.debit(world.order(), world.soon)
    assert (refused.outcome, refused.detail) == (NOT_SENT, "circuit_open")
    await wait_until(lambda: _failed_probes(world))
    assert not (await world.log())[3:]

    await world.admin.clear_faults()
    await wait_until(lambda: world.state().circuit == "half_open")
    await wait_until(lambda: approved(world))
    assert world.state().circuit == "closed"


async def _failed_probes(world) -> bool:
    return len([row for row in await world.log(mti="0800") if row.network_code == "301"]) >= 2


async def test_probes_without_a_sign_of_life_replace_the_connection(make_world, wait_until) -> None:
    tuning = LinkTuning(
        circuit_threshold=1, circuit_cool_down_first_s=0.01, echo_timeout_s=0.2, probes_before_reconnect=1
    )
    world = await make_world(tuning=tuning, timeout_ms=300)
    await world.fault("drop_before_commit")
    await world.fault("drop_before_commit", mti="0800")
    assert (await world.links.debit(world.order(), world.soon)).outcome is UNKNOWN
    await wait_until(lambda: _sign_ons(world, 2))
    await wait_until(lambda: world.state().ready and world.state().circuit == "half_open")
    await wait_until(lambda: approved(world))


async def _sign_ons(world, wanted: int) -> bool:
    return len([row for row in await world.log(mti="0800") if row.network_code == "001"]) >= wanted


async def test_a_bank_that_comes_late_is_found(make_world, wait_until) -> None:
    world = await make_world(connected=False)
    await world.service.stop()
    await world.connect(EAGER, wait_s=0.05)
    try:
        await wait_until(lambda: world.state().circuit == "open")
        refused = await world.links.debit(world.order(), world.soon)
        assert (refused.outcome, refused.detail) == (NOT_SENT, "circuit_open")
        (bank,) = world.service.banks.values()
        bank.profile = type(bank.profile)(
            **{name: getattr(bank.profile, name) for name in bank.profile.__slots__} | {"port": bank.port}
        )
        await bank.start("127.0.0.1")
        await wait_until(lambda: world.state().ready and world.state().circuit == "half_open")
        assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED
        assert world.state().circuit == "closed"
    finally:
        await world.links.stop()


async def test_without_a_connection_nothing_is_sent(make_world) -> None:
    world = await make_world(connected=False)
    await world.service.stop()
    patient = LinkTuning(circuit_threshold=1_000, connect_wait_s=0.05, backoff_most_s=0.1)
    await world.connect(patient, wait_s=0.05)
    answer = await world.links.debit(world.order(), world.soon)
    await world.links.stop()
    assert (answer.outcome, answer.detail) == (NOT_SENT, "not_connected")


async def test_an_idle_link_is_echoed(make_world, wait_until) -> None:
    world = await make_world(tuning=LinkTuning(echo_idle_s=0.05))

    async def echoed() -> bool:
        return len([row for row in await world.log(mti="0810", direction="sent") if row.network_code == "301"]) >= 3

    await wait_until(echoed)
    assert world.state().ready


async def test_an_echo_that_finds_nobody_replaces_the_connection(make_world, wait_until) -> None:
    world = await make_world(tuning=LinkTuning(echo_idle_s=0.05, echo_timeout_s=0.2, backoff_first_s=0.02))
    await world.fault("drop_before_commit", mti="0800")
    await wait_until(lambda: _sign_ons(world, 2))
    await wait_until(lambda: world.state().ready)


@pytest.mark.parametrize("action", ["wrong_mac", "garbage", "close"])
async def test_a_sign_on_that_fails_is_tried_again(make_world, wait_until, action: str) -> None:
    world = await make_world(connected=False)
    await world.fault(action, mti="0800")
    await world.connect(wait_s=20)
    try:
        assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED
    finally:
        await world.links.stop()


async def test_another_zone_key_never_signs_on(make_world) -> None:
    world = await make_world(connected=False)
    world.zone_master = secrets.token_bytes(16)
    await world.connect(EAGER, wait_s=0.3)
    ready = world.state().ready
    answer = await world.links.debit(world.order(), world.soon)
    await world.links.stop()
    assert not ready
    assert answer.outcome is NOT_SENT
    assert not await world.log()
    assert {row.response_code for row in await world.log(mti="0810", direction="sent")} == {"A0"}


async def test_stop_lets_messages_under_way_end_and_takes_no_more(make_world, wait_until) -> None:
    world = await make_world()
    await world.fault("delay_ms", delay_ms=300)
    debit = asyncio.create_task(world.links.debit(world.order(), world.soon))
    await wait_until(lambda: world.state().in_flight)
    stopping = asyncio.create_task(world.links.stop(10))
    for _ in range(5):  # stop() begins in a task of its own for each link
        await asyncio.sleep(0)
    refused = await world.links.debit(world.order(), world.soon)
    await stopping
    assert (await debit).outcome is APPROVED
    assert (refused.outcome, refused.detail) == (NOT_SENT, "stopping")
    assert [row.network_code for row in await world.log(mti="0800")][-1] == "002"


class PushedClock:
    """Stands still unless pushed."""

    seconds = 0.0

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


async def test_a_frame_that_stood_in_line_past_its_lease_is_never_written(wait_until) -> None:
    """The peer reads nothing until the line is full; the last frame's lease ends while it waits behind the others."""
    may_read, got = asyncio.Event(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_read.wait()
        splitter = FrameSplitter()
        while data := await reader.read(1 << 16):
            got.extend(splitter.feed(data))
        writer.close()

    clock, refusals = PushedClock(), []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = Connection(clock=clock, tuning=LinkTuning(), on_body=print, on_lost=print)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: connection, "127.0.0.1", server.sockets[0].getsockname()[1])

    filler: list[Outgoing] = []
    while len(filler) % 50 or not filler or filler[-1].written:
        filler.append(Outgoing(b"filler" * 150, 10.0, refusals.append))
        connection.send(filler[-1])
        if len(filler) % 50 == 0:
            await asyncio.sleep(0)
        assert len(filler) < 200_000
    # What is written has left for the kernel, but for part of one frame: nothing else waits where no lease is checked.
    assert connection._transport.get_write_buffer_size() <= len(frame(filler[0].body))
    late, free = Outgoing(b"late", 10.0, refusals.append), Outgoing(b"free", 20.0, refusals.append)
    connection.send(late)
    connection.send(free)

    clock.seconds = 10.0
    may_read.set()
    await wait_until(lambda: got and got[-1] == b"free")
    assert (filler[-1].written, late.written, set(refusals)) == (False, False, {"lease_over"})
    assert len(got) == sum(outgoing.written for outgoing in filler) + 1
    assert b"late" not in got
    connection.close()
    server.close()
    await server.wait_closed()


async def test_what_was_not_written_when_the_connection_went_is_refused() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    lost, refusals = [], []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = Connection(clock=PushedClock(), tuning=LinkTuning(), on_body=print, on_lost=lost.append)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: connection, "127.0.0.1", server.sockets[0].getsockname()[1])
    queued = Outgoing(b"queued", None, refusals.append)
    connection.send(queued)
    connection.close("given_up")
    connection.send(Outgoing(b"after", None, refusals.append))
    await asyncio.sleep(0.05)

    assert (queued.written, refusals, lost) == (False, ["given_up", "closed"], ["given_up"])
    server.close()
    await server.wait_closed()


async def test_a_refused_sign_on_keeps_its_distance_to_the_next_try(make_world, wait_until) -> None:
    world = await make_world()
    await world.links.stop()
    world.zone_master = secrets.token_bytes(16)
    tried_before = len(await world.log(mti="0800"))
    await world.connect(LinkTuning(backoff_first_s=600.0, backoff_most_s=600.0), wait_s=0.1)
    await wait_until(lambda: _tries(world, tried_before + 1))
    for _ in range(20):
        await asyncio.sleep(0.02)  # room for tries that must not come
    assert len([row for row in (await world.log(mti="0800"))[tried_before:] if row.direction == "received"]) == 1
    await world.links.stop()
    world.zone_master = secrets.token_bytes(16)


async def _tries(world, count: int) -> bool:
    return len(await world.log(mti="0800")) >= count
