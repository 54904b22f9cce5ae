"""What each operation of version 1 does: hand the typed request to the engine or the registry, and answer."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec
from aiohttp import web

from settlement.api.answers import answer, outcome
from settlement.api.bodies import convert
from settlement.errors import ServiceError
from terminal_sdk import wire

if TYPE_CHECKING:
    from settlement.api.ports import Engine, Terminals
    from settlement.engine.waits import Waits
    from settlement.terminals import TerminalIdentity

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request: its sender, the HTTP request and the decoded body (None where it has none).

    ``waits``: entered around a wait for a bank, during which the request's place at work is another's.
    """

    who: TerminalIdentity
    http: web.Request
    message: msgspec.Struct | None
    waits: Waits

    def body(self, kind: type[T]) -> T:
        """The body as the type that the table of operations promises."""
        return _as(self.message, kind)

    def path_id(self, name: str, unknown: str) -> uuid.UUID:
        """The id in the path. What is no id names nothing: raises the ``unknown`` code."""
        text = self.http.match_info[name]
        try:
            value = uuid.UUID(text)
        except ValueError:
            raise ServiceError(unknown) from None
        if str(value) != text.lower():  # UUID() also reads braces, "urn:" and no hyphens
            raise ServiceError(unknown)
        return value


Handler = Callable[[Call], Awaitable[web.Response]]
OpenHandler = Callable[[msgspec.Struct | None], Awaitable[web.Response]]


class SettlementHandlers:
    """The operations of signed-in terminals."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def table(self) -> Mapping[str, Handler]:
        """Handlers by the name of their operation."""
        return {
            "quote": self.quote,
            "settle": self.settle,
            "settlementByKey": self.settlement_by_key,
            "settlement": self.settlement,
            "reverse": self.reverse,
            "reverseByKey": self.reverse_by_key,
            "reversal": self.reversal,
            "refund": self.refund,
            "refundById": self.refund_by_id,
            "receipt": self.receipt,
        }

    async def quote(self, call: Call) -> web.Response:
        """POST /v1/quotes."""
        return answer(await self._engine.quote(call.who, call.body(wire.QuoteRequest)))

    async def settle(self, call: Call) -> web.Response:
        """POST /v1/settlements."""
        return settlement_answer(await self._engine.settle(call.who, call.body(wire.SettlementRequest), call.waits))

    async def settlement_by_key(self, call: Call) -> web.Response:
        """GET /v1/settlements?idempotency_key=."""
        key = convert(call.http.query.get("idempotency_key"), wire.IdempotencyKey, "idempotency_key")
        return settlement_answer(await self._engine.status_by_key(call.who, key))

    async def settlement(self, call: Call) -> web.Response:
        """GET /v1/settlements/{settlement_id}."""
        return settlement_answer(
            await self._engine.status(call.who, call.path_id("settlement_id", "SETTLEMENT_UNKNOWN"))
        )

    async def reverse(self, call: Call) -> web.Response:
        """POST /v1/settlements/{settlement_id}/reversal."""
        settlement_id = call.path_id("settlement_id", "SETTLEMENT_UNKNOWN")
        request = call.body(wire.ReversalRequest)
        return _reversal(await self._engine.reverse(call.who, settlement_id, request, call.waits))

    async def reverse_by_key(self, call: Call) -> web.Response:
        """POST /v1/reversals."""
        return _reversal(await self._engine.reverse_by_key(call.who, call.body(wire.ReversalByKeyRequest), call.waits))

    async def reversal(self, call: Call) -> web.Response:
        """GET /v1/reversals/{reversal_id}."""
        reversal_id = call.path_id("reversal_id", "SETTLEMENT_UNKNOWN")
        return _reversal(await self._engine.reversal_status(call.who, reversal_id))

    async def refund(self, call: Call) -> web.Response:
        """POST /v1/settlements/{settlement_id}/refunds."""
        settlement_id = call.path_id("settlement_id", "SETTLEMENT_UNKNOWN")
        return _refund(await self._engine.refund(call.who, settlement_id, call.body(wire.RefundRequest), call.waits))

    async def refund_by_id(self, call: Call) -> web.Response:
        """GET /v1/refunds/{refund_id}."""
        return _refund(await self._engine.refund_status(call.who, call.path_id("refund_id", "REFUND_UNKNOWN")))

    async def receipt(self, call: Call) -> web.Response:
        """GET /v1/receipts/{receipt_id}, as data or as printable text."""
        as_text = _wants_text(call.http)
        receipt = await self._engine.receipt(call.who, call.path_id("receipt_id", "RECEIPT_UNKNOWN"))
        if as_text:
            return web.Response(body=receipt.text.encode(), content_type="text/plain", charset="utf-8")
        return answer(receipt)


class SignInHandlers:
    """The operations of terminals that have no session yet."""

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals

    def table(self) -> Mapping[str, OpenHandler]:
        """Handlers by the name of their operation."""
        return {"enrol": self.enrol, "challenge": self.challenge, "signIn": self.sign_in}

    async def enrol(self, message: msgspec.Struct | None) -> web.Response:
        """POST /v1/terminals/enrol."""
        return answer(await self._terminals.enrol(_as(message, wire.EnrolRequest)))

    async def challenge(self, message: msgspec.Struct | None) -> web.Response:
        """POST /v1/sessions/challenge."""
        return answer(self._terminals.challenge(_as(message, wire.ChallengeRequest)))

    async def sign_in(self, message: msgspec.Struct | None) -> web.Response:
        """POST /v1/sessions."""
        return answer(await self._terminals.sign_in(_as(message, wire.SignInRequest)))


def settlement_answer(settlement: wire.Settlement) -> web.Response:
    """A settlement as it stands: 202 while it is not final."""
    return outcome(settlement, f"/v1/settlements/{settlement.settlement_id}")


def _reversal(reversal: wire.Reversal) -> web.Response:
    return outcome(reversal, f"/v1/reversals/{reversal.reversal_id}")


def _refund(refund: wire.Refund) -> web.Response:
    return outcome(refund, f"/v1/refunds/{refund.refund_id}")


def _as(message: msgspec.Struct | None, kind: type[T]) -> T:
    assert isinstance(message, kind)  # noqa: S101  # decoded as the operation's own type just before
    return message


def _wants_text(request: web.Request) -> bool:
    """``?format=`` says so, or else ``Accept`` prefers text/plain to JSON. Raises BAD_FIELD for another format."""
    wanted = request.query.get("format")
    if wanted is not None:
        if wanted not in {"json", "text"}:
            raise ServiceError("BAD_FIELD", "format is json or text.", field="format")
        return wanted == "text"
    accepted = _accepted(request.headers.get("Accept", ""))
    wildcard = accepted.get("*/*", 0.0)
    as_text = accepted.get("text/plain", accepted.get("text/*", wildcard))
    return as_text > accepted.get("application/json", accepted.get("application/*", wildcard))


def _accepted(header: str) -> dict[str, float]:
    """The media types of an ``Accept`` header with their weights; what cannot be read counts as not said."""
    weights = {}
    for item in header.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            weights[media_type] = float(weight)
        except ValueError:
            continue
    return weights
