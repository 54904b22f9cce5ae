"""Tills with the kit's own HTTP, signing and checking of answers, but without journal and card: the service's clients.

Every card's proof and every body is made beforehand; while the clock runs a request is signed, sent, and its answer
checked and decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bills import settlement_request
from bench.load.jobs import HttpJob
from bench.load.loops import Operation
from loadtest.prepared import CardKey
from terminal_sdk import Credentials, wire
from terminal_sdk.client.caller import Caller
from terminal_sdk.client.delivery import SETTLEMENTS_PATH
from terminal_sdk.client.retry import RetryPolicy
from terminal_sdk.client.session import Sessions
from terminal_sdk.client.transport import HttpTransport, NoAnswer
from terminal_sdk.clock import SystemClock
from terminal_sdk.errors import RequestRefused
from terminal_sdk.pin import encode_pin_block

TIMEOUT_S = 30.0
_LIMITS = RetryPolicy()


@dataclass(frozen=True, slots=True)
class LeanTill:
    """One till: its connection and its session."""

    terminal_id: str
    transport: HttpTransport
    sessions: Sessions
    caller: Caller

    @classmethod
    def of(cls, base_url: str, own: Credentials) -> LeanTill:
        """A till of these credentials; it signs in at its first call."""
        transport = open_transport(base_url)
        sessions = Sessions(
            transport,
            SystemClock(),
            terminal_id=own.terminal_id,
            key=own.key,
            certificate=own.certificate,
            timeout_s=TIMEOUT_S,
        )
        return cls(own.terminal_id, transport, sessions, Caller(transport, sessions))

    async def settling(self, card: CardKey, job: HttpJob, number: int) -> Operation:
        """The operation that settles the bill with this card."""
        session = await self.sessions.current()
        block = None
        if job.payment == "bank" and card.pan is not None:
            block = encode_pin_block(job.pin, card.pan, session.pin_key).hex()
        request = settlement_request(
            card,
            terminal_id=self.terminal_id,
            visit_no=f"{job.mark}-{number}",
            payment=job.payment,
            now=self.sessions.service_time(session),
            pin_block=block,
        )
        body = wire.encode(request)

        async def body_for(_: object) -> bytes:
            return body

        async def settle() -> str:
            try:
                answer = await self.caller.once("POST", SETTLEMENTS_PATH, wire.Settlement, body_for, TIMEOUT_S)
            except RequestRefused as refusal:
                return refusal.code
            except NoAnswer as failure:
                return failure.reason
            return answer.state

        return settle


def open_transport(base_url: str) -> HttpTransport:
    """The kit's own transport, with its own limits."""
    return HttpTransport(
        base_url, connect_timeout_s=_LIMITS.connect_timeout_s, answer_bytes_max=_LIMITS.answer_bytes_max
    )


@contextlib.asynccontextmanager
async def prepared(job: HttpJob, clients: int) -> AsyncIterator[Sequence[Sequence[Operation]]]:
    """Sign in, which also opens the connections, then sign every proof and write every body. A client is a till;
    a single one (planned arrivals) uses all tills in turn.
    """
    own = [await asyncio.to_thread(Credentials.load, Path(store)) for store in job.stores]
    tills = [LeanTill.of(job.base_url, each) for each in own]
    try:
        await asyncio.gather(*(till.sessions.current() for till in tills))
        operations: list[list[Operation]] = [[] for _ in range(clients)]
        for number, card in enumerate(job.cards):
            till = tills[number % len(tills)]
            operations[number % clients].append(await till.settling(card, job, number))
        yield operations
    finally:
        await asyncio.gather(*(till.transport.close() for till in tills))
