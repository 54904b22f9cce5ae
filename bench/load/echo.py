"""The same client against a server that only answers: what HTTP and the client by themselves cost."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from itertools import repeat

import msgspec

from bench.bills import settlement_request
from bench.load.http import TIMEOUT_S, open_transport
from bench.load.jobs import SETTLED, EchoJob
from bench.load.loops import Operation
from loadtest.prepared import CardKey
from terminal_sdk import wire
from terminal_sdk.client.delivery import SETTLEMENTS_PATH
from terminal_sdk.client.transport import HttpTransport, NoAnswer
from terminal_sdk.clock import SystemClock, epoch_ms
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.signing import (
    MAC_HEADER,
    NONCE_HEADER,
    SESSION_HEADER,
    TIME_HEADER,
    request_mac,
    response_mac,
)

_MAC_KEY = bytes(range(32))
_SESSION = "bench-echo"


@contextlib.asynccontextmanager
async def prepared(job: EchoJob, clients: int) -> AsyncIterator[Sequence[Sequence[Operation]]]:
    """One connection a client."""
    body = sample_body()
    transports = [open_transport(job.base_url) for _ in range(clients)]
    operations = [_echoing(transport, body) for transport in transports]
    try:
        await asyncio.gather(*(operation() for operation in operations))
        yield [list(repeat(operation, job.count)) for operation in operations]
    finally:
        await asyncio.gather(*(transport.close() for transport in transports))


def sample_body() -> bytes:
    """The body of a settlement, as the tills send it."""
    card = CardKey(
        card_number="A12345678", fingerprint="5c" * 32, private_key=Sm2PrivateKey.generate().to_bytes(), pan=None
    )
    request = settlement_request(
        card,
        terminal_id="BENCH001",
        visit_no=f"B{secrets.token_hex(6)}-1",
        payment="account",
        now=SystemClock().now(),
        pin_block=None,
    )
    return wire.encode(request)


def _echoing(transport: HttpTransport, body: bytes) -> Operation:
    clock = SystemClock()

    async def echo() -> str:
        """What ``Caller.once`` does for a settlement, but that the answer's MAC is only computed."""
        nonce = secrets.token_hex(16)
        time_ms = epoch_ms(clock.now())
        headers = {
            SESSION_HEADER: _SESSION,
            TIME_HEADER: str(time_ms),
            NONCE_HEADER: nonce,
            MAC_HEADER: request_mac(_MAC_KEY, "POST", SETTLEMENTS_PATH, time_ms, nonce, body),
        }
        try:
            raw = await transport.exchange("POST", SETTLEMENTS_PATH, headers, body, TIMEOUT_S)
        except NoAnswer as failure:
            return failure.reason
        response_mac(_MAC_KEY, raw.status, nonce, raw.body)
        answer = msgspec.json.decode(raw.body, type=wire.Settlement)
        return SETTLED if raw.status == HTTPStatus.OK and answer.final else f"status {raw.status}"

    return echo
