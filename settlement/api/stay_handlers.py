"""What each operation of inpatient stays does: hand the typed request to the engine, and answer."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from settlement.api.answers import answer
from settlement.api.handlers import Call, Handler, settlement_answer
from settlement.errors import ServiceError
from terminal_sdk import wire

if TYPE_CHECKING:
    from settlement.api.ports import Engine

_BATCH_DIGITS = 9


class StayHandlers:
    """The operations of inpatient stays."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def table(self) -> Mapping[str, Handler]:
        """Handlers by the name of their operation."""
        return {
            "admit": self.admit,
            "stay": self.stay,
            "uploadFees": self.upload_fees,
            "withdrawFees": self.withdraw_fees,
            "trial": self.trial,
            "settleStay": self.settle,
            "deposit": self.deposit,
            "cancelStay": self.cancel,
        }

    async def admit(self, call: Call) -> web.Response:
        """POST /v1/stays."""
        return answer(await self._engine.admit(call.who, call.body(wire.AdmissionRequest)))

    async def stay(self, call: Call) -> web.Response:
        """GET /v1/stays/{stay_id}."""
        return answer(await self._engine.stay(call.who, _stay_id(call)))

    async def upload_fees(self, call: Call) -> web.Response:
        """POST /v1/stays/{stay_id}/fees."""
        return answer(await self._engine.upload_fees(call.who, _stay_id(call), call.body(wire.FeesRequest)))

    async def withdraw_fees(self, call: Call) -> web.Response:
        """POST /v1/stays/{stay_id}/fees/{batch_no}/withdrawal."""
        text = call.http.match_info["batch_no"]
        if not text.isascii() or not text.isdecimal() or len(text) > _BATCH_DIGITS:
            raise ServiceError("STAY_BATCH_UNKNOWN")
        request = call.body(wire.WithdrawalRequest)
        return answer(await self._engine.withdraw_fees(call.who, _stay_id(call), int(text), request))

    async def trial(self, call: Call) -> web.Response:
        """POST /v1/stays/{stay_id}/trial."""
        return answer(await self._engine.trial(call.who, _stay_id(call), call.body(wire.TrialRequest)))

    async def settle(self, call: Call) -> web.Response:
        """POST /v1/stays/{stay_id}/settlements."""
        request = call.body(wire.StaySettlementRequest)
        return settlement_answer(await self._engine.settle_stay(call.who, _stay_id(call), request, call.waits))

    async def deposit(self, call: Call) -> web.Response:
        """POST /v1/stays/{stay_id}/deposits."""
        request = call.body(wire.DepositRequest)
        return settlement_answer(await self._engine.deposit(call.who, _stay_id(call), request, call.waits))

    async def cancel(self, call: Call) -> web.Response:
        """POST /v1/stays/{stay_id}/cancellation."""
        return answer(await self._engine.cancel_stay(call.who, _stay_id(call), call.body(wire.CancellationRequest)))


def _stay_id(call: Call) -> uuid.UUID:
    return call.path_id("stay_id", "STAY_UNKNOWN")
