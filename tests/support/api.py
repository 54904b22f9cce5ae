"""The HTTP layer for tests: the real application and registry behind a real socket, with a stand-in for the engine."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from settlement.api import Limits, create_app, create_runner
from settlement.api.app import ADMISSION
from settlement.api.examples import ANSWERS
from settlement.api.limits import Admission
from settlement.engine.waits import ALWAYS, Waits
from settlement.terminals import TerminalIdentity
from terminal_sdk import wire
from terminal_sdk.signing import MAC_HEADER, response_mac
from tests.support.terminals import SignedIn, TerminalWorld

T = TypeVar("T", bound=msgspec.Struct)

_OPEN_STATE = {wire.Settlement: "pending", wire.Reversal: "reversing", wire.Refund: "refunding"}


class StandInEngine:
    """Answers every call of the engine with an example. Knows nothing of bills: for tests of the HTTP layer alone.

    ``bank``: what settlements wait for.
    ``error``: raised instead of an answer. ``gate``: calls wait until it is set. ``calls``: what was asked.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.bank: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.final = True
        self.calls: list[tuple[str, str, Any]] = []
        self.finished = 0
        self.cancelled = 0
        self.reasons: list[str] = []

    async def quote(self, who: TerminalIdentity, request: wire.QuoteRequest) -> wire.Quote:
        return await self._answer("quote", who, request, wire.Quote)

    async def settle(
        self, who: TerminalIdentity, request: wire.SettlementRequest, waits: Waits = ALWAYS
    ) -> wire.Settlement:
        if self.bank is None:
            return await self._answer("settle", who, request, wire.Settlement)
        with waits(self.bank) as granted:
            if not granted:
                return msgspec.structs.replace(ANSWERS["settle"], state="pending", final=False)  # type: ignore[type-var]
            return await self._answer("settle", who, request, wire.Settlement)

    async def status(self, who: TerminalIdentity, settlement_id: uuid.UUID) -> wire.Settlement:
        return await self._answer("settlement", who, settlement_id, wire.Settlement)

    async def status_by_key(self, who: TerminalIdentity, key: str) -> wire.Settlement:
        return await self._answer("settlementByKey", who, key, wire.Settlement)

    async def reverse(
        self, who: TerminalIdentity, settlement_id: uuid.UUID, request: wire.ReversalRequest, waits: Waits = ALWAYS
    ) -> wire.Reversal:
        return await self._answer("reverse", who, (settlement_id, request), wire.Reversal)

    async def reverse_by_key(
        self, who: TerminalIdentity, request: wire.ReversalByKeyRequest, waits: Waits = ALWAYS
    ) -> wire.Reversal:
        return await self._answer("reverseByKey", who, request, wire.Reversal)

    async def reversal_status(self, who: TerminalIdentity, reversal_id: uuid.UUID) -> wire.Reversal:
        return await self._answer("reversal", who, reversal_id, wire.Reversal)

    async def refund(
        self, who: TerminalIdentity, settlement_id: uuid.UUID, request: wire.RefundRequest, waits: Waits = ALWAYS
    ) -> wire.Refund:
        return await self._answer("refund", who, (settlement_id, request), wire.Refund)

    async def refund_status(self, who: TerminalIdentity, refund_id: uuid.UUID) -> wire.Refund:
        return await self._answer("refundById", who, refund_id, wire.Refund)

    async def receipt(self, who: TerminalIdentity, receipt_id: uuid.UUID) -> wire.Receipt:
        return await self._answer("receipt", who, receipt_id, wire.Receipt)

    async def admit(self, who: TerminalIdentity, request: wire.AdmissionRequest) -> wire.Stay:
        return await self._answer("admit", who, request, wire.Stay)

    async def stay(self, who: TerminalIdentity, stay_id: uuid.UUID) -> wire.Stay:
        return await self._answer("stay", who, stay_id, wire.Stay)

    async def upload_fees(self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.FeesRequest) -> wire.Stay:
        return await self._answer("uploadFees", who, (stay_id, request), wire.Stay)

    async def withdraw_fees(
        self, who: TerminalIdentity, stay_id: uuid.UUID, batch_no: int, request: wire.WithdrawalRequest
    ) -> wire.Stay:
        return await self._answer("withdrawFees", who, (stay_id, batch_no, request), wire.Stay)

    async def trial(self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.TrialRequest) -> wire.Quote:
        return await self._answer("trial", who, (stay_id, request), wire.Quote)

    async def settle_stay(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.StaySettlementRequest, waits: Waits = ALWAYS
    ) -> wire.Settlement:
        return await self._answer("settleStay", who, (stay_id, request), wire.Settlement)

    async def deposit(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.DepositRequest, waits: Waits = ALWAYS
    ) -> wire.Settlement:
        return await self._answer("deposit", who, (stay_id, request), wire.Settlement)

    async def cancel_stay(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.CancellationRequest
    ) -> wire.Stay:
        return await self._answer("cancelStay", who, (stay_id, request), wire.Stay)

    def ready(self) -> list[str]:
        return self.reasons

    async def _answer(self, name: str, who: TerminalIdentity, asked: Any, kind: type[T]) -> T:
        self.calls.append((name, who.terminal_id, asked))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        answer = ANSWERS[name]
        if not self.final and isinstance(answer, wire.Settlement | wire.Reversal | wire.Refund):
            answer = msgspec.structs.replace(answer, final=False, state=_OPEN_STATE[type(answer)])
        assert isinstance(answer, kind)
        self.finished += 1
        return answer


@dataclass(frozen=True)
class Answered:
    """An HTTP answer, read whole."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a refusal."""
        detail = wire_error(self.body)
        return detail.code if detail else None

    @property
    def field(self) -> str | None:
        """The field of a refusal."""
        detail = wire_error(self.body)
        return detail.field if detail else None


def wire_error(body: bytes) -> wire.ErrorDetail | None:
    try:
        return msgspec.json.decode(body, type=wire.ErrorBody).error
    except msgspec.DecodeError:
        return None


class Api:
    """A running application and a client of it."""

    def __init__(
        self, world: TerminalWorld, engine: StandInEngine, admission: Admission, url: str, http: aiohttp.ClientSession
    ) -> None:
        self.world = world
        self.engine = engine
        self.admission = admission
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.http = http

    async def plain(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
        """A request without MAC. Names of headers are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named = {"Content-Type": "application/json"} | named
        return await self._sent(method, path, body, named)

    async def signed(
        self, who: SignedIn, method: str, path: str, message: msgspec.Struct | bytes | None = None, **changes: str
    ) -> Answered:
        """A request with MAC; the MAC of the answer is checked. ``changes``: see ``SignedIn.headers``."""
        body = message if isinstance(message, bytes) else b"" if message is None else wire.encode(message)
        headers = who.headers(method, path, body, **changes)
        answer = await self._sent(
            method, path, body or None, headers | ({"Content-Type": "application/json"} if body else {})
        )
        if MAC_HEADER in answer.headers:
            expected = response_mac(who.mac_key, answer.status, headers["X-Nonce"], answer.body)
            assert answer.headers[MAC_HEADER] == expected
        return answer

    async def _sent(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answered:
        url = URL(self.url + path, encoded=True)
        data = None if body is None else io.BytesIO(body)
        async with self.http.request(method, url, data=data, headers=headers) as response:
            return Answered(response.status, response.headers, await response.read())


@contextlib.asynccontextmanager
async def running_api(world: TerminalWorld, limits: Limits | None = None) -> AsyncIterator[Api]:
    """The application on a free port."""
    engine = StandInEngine()
    app = create_app(engine, world.registry, world.settings, limits=limits)
    runner = create_runner(app, world.settings)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as http:
            yield Api(world, engine, app[ADMISSION], url, http)
        engine.gate.set()
    finally:
        await runner.cleanup()
