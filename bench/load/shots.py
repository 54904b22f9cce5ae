"""A light load: requests that are bytes already, sent at their moments over bare connections; each answer is recorded.

Nothing of a till runs here but the socket, so that the generator takes little of the cores that it shares with what it
measures. Latency counts from the planned moment, also where the request left late.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from bench.bills import settlement_request
from bench.load.http import LeanTill
from bench.load.jobs import Closed, Planned, Record, ShotsJob
from loadtest.prepared import CardKey
from terminal_sdk import Credentials, wire
from terminal_sdk.client.delivery import SETTLEMENTS_PATH
from terminal_sdk.clock import epoch_ms
from terminal_sdk.pin import encode_pin_block
from terminal_sdk.signing import MAC_HEADER, NONCE_HEADER, SESSION_HEADER, TIME_HEADER, request_mac

ANSWER_WITHIN_S = 30.0
DEADLINE_MS = 15_000
"""Of every bill: what a silent bank leaves open is turned back soon, and the next run begins with nothing open."""
NO_ANSWER, LOST = "no_answer", "connection_lost"
CONNECTIONS_MAX = 4_000
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATE = re.compile(rb'"state":"([a-z]+)"')
_CODE = re.compile(rb'"code":"([A-Z_]+)"')


class Wire(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._read = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport, self.open = cast("asyncio.WriteTransport", transport), True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        self._read += data
        head_end = self._read.find(b"\r\n\r\n")
        if head_end < 0 or self._answer is None or self._answer.done():
            return
        length = _LENGTH.search(self._read, 0, head_end)
        if len(self._read) >= head_end + 4 + (int(length[1]) if length else 0):
            answer, self._read = bytes(self._read), bytearray()
            self._answer.set_result(answer)

    async def exchange(self, request: bytes) -> bytes:
        """Send, and wait for the whole answer. Raises ``OSError`` when the connection is lost, ``TimeoutError``."""
        assert self._transport is not None  # noqa: S101 - it was connected
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await self._answer

    def close(self) -> None:
        """Give it up."""
        if self._transport is not None:
            self._transport.abort()


class Wires:
    """Connections to one service, opened when none is free. ``open_some`` opens them beforehand."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._free: list[Wire] = []
        self._all: list[Wire] = []

    async def open_some(self, count: int) -> None:
        """So many, free."""
        self._free += await asyncio.gather(*(self._connect() for _ in range(count)))

    async def ask(self, request: bytes) -> str:
        """The outcome: the settlement's state, or the code of the refusal, or what became of the connection."""
        try:
            wire_ = await self._take()
            answer = await wire_.exchange(request)
        except TimeoutError:
            return NO_ANSWER
        except OSError:
            return LOST
        self._free.append(wire_)
        return outcome(answer)

    def close(self) -> None:
        """All of them."""
        for each in self._all:
            each.close()

    async def _take(self) -> Wire:
        while self._free:
            free = self._free.pop()
            if free.open:
                return free
        return await self._connect()

    async def _connect(self) -> Wire:
        if len(self._all) >= CONNECTIONS_MAX:
            self._all = [each for each in self._all if each.open]
        if len(self._all) >= CONNECTIONS_MAX:
            raise ConnectionError("too many connections")
        _, connected = await asyncio.get_running_loop().create_connection(Wire, *self._address)
        self._all.append(connected)
        return connected


def outcome(answer: bytes) -> str:
    """What an answer says, in a word."""
    found = _STATE.search(answer) or _CODE.search(answer)
    return found[1].decode() if found else answer[9:12].decode("ascii", "replace")


@contextlib.asynccontextmanager
async def prepared(job: ShotsJob) -> AsyncIterator[tuple[Wires, list[bytes]]]:
    """Every request as bytes, one a card, by the tills in turn; and open connections."""
    own = [await asyncio.to_thread(Credentials.load, Path(store)) for store in job.stores]
    tills = [LeanTill.of(job.base_url, each) for each in own]
    wires = Wires(job.base_url)
    try:
        await asyncio.gather(*(till.sessions.current() for till in tills))
        requests = [await _request(tills[i % len(tills)], card, job, i) for i, card in enumerate(job.cards)]
        await wires.open_some(job.connections)
        yield wires, requests
    finally:
        wires.close()
        await asyncio.gather(*(till.transport.close() for till in tills))


async def _request(till: LeanTill, card: CardKey, job: ShotsJob, number: int) -> bytes:
    session = await till.sessions.current()
    now = till.sessions.service_time(session)
    block = None
    if job.payment == "bank" and card.pan is not None:
        block = encode_pin_block(job.pin, card.pan, session.pin_key).hex()
    body = wire.encode(
        settlement_request(
            card,
            terminal_id=till.terminal_id,
            visit_no=f"{job.mark}-{number}",
            payment=job.payment,
            now=now,
            pin_block=block,
            deadline_ms=DEADLINE_MS,
        )
    )
    nonce, time_ms = secrets.token_hex(16), epoch_ms(now)
    headers = {
        "Host": "bench",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        SESSION_HEADER: session.session_id,
        TIME_HEADER: str(time_ms),
        NONCE_HEADER: nonce,
        MAC_HEADER: request_mac(session.mac_key, "POST", SETTLEMENTS_PATH, time_ms, nonce, body),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {SETTLEMENTS_PATH} HTTP/1.1\r\n{head}\r\n".encode() + body


async def fire(wires: Wires, requests: Sequence[bytes], plan: Closed | Planned, start_at: float) -> Record:
    """Send the requests by the plan. A closed one uses as many as it gets to."""
    cpu_at_start = time.process_time()
    count = len(requests)
    outcomes, latencies_ms, late_ms, ended_s = [""] * count, [0.0] * count, [0.0] * count, [0.0] * count

    async def one(number: int, planned: float) -> None:
        late_ms[number] = (time.monotonic() - planned) * 1_000
        outcomes[number] = await wires.ask(requests[number])
        ended = time.monotonic()
        latencies_ms[number], ended_s[number] = (ended - planned) * 1_000, ended - start_at

    await asyncio.sleep(max(0.0, start_at - time.monotonic()))
    if isinstance(plan, Planned):
        async with asyncio.TaskGroup() as group:
            for number, offset_s in enumerate(plan.offsets_s):
                await asyncio.sleep(max(0.0, start_at + offset_s - time.monotonic()))
                group.create_task(one(number, start_at + offset_s))
        begun = count
    else:
        numbers, until = iter(range(count)), start_at + plan.seconds

        async def client() -> None:
            while time.monotonic() < until and (number := next(numbers, None)) is not None:
                await one(number, time.monotonic())

        await asyncio.gather(*(client() for _ in range(plan.clients)))
        begun = next(numbers, count)
    return Record(
        outcomes=outcomes[:begun],
        latencies_ms=latencies_ms[:begun],
        late_ms=late_ms[:begun],
        ended_s=ended_s[:begun],
        cpu_s=time.process_time() - cpu_at_start,
    )
