"""From typed answers and refusals to HTTP responses."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from settlement.errors import CATALOGUE, ServiceError
from terminal_sdk import wire

JSON = "application/json"
_CLOSING = frozenset({"BODY_TOO_LARGE", "BODY_TOO_SLOW", "BAD_REQUEST"})
"""Refusals after which the rest of the request may still be on its way: the connection is not used again."""
_OF_STATUS = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
PENDING_RETRY_AFTER_S = 1


def answer(message: msgspec.Struct, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A message as JSON."""
    return web.Response(body=wire.encode(message), status=status, content_type=JSON, headers=headers)


def outcome(message: wire.Settlement | wire.Reversal | wire.Refund, location: str) -> web.Response:
    """200 for what is final, 202 with the place to ask again for what is not."""
    if message.final:
        return answer(message)
    return answer(message, status=202, headers={"Location": location, "Retry-After": str(PENDING_RETRY_AFTER_S)})


def refusal(error: ServiceError) -> web.Response:
    """A refusal as ``wire.ErrorBody`` under its status."""
    detail = wire.ErrorDetail(
        code=error.code,
        message=error.message,
        field=error.field,
        retry_after_ms=error.retry_after_ms,
        settlement_id=error.settlement_id,
        quote=error.quote,
    )
    response = answer(wire.ErrorBody(error=detail), status=error.status)
    if error.retry_after_ms is not None:
        response.headers["Retry-After"] = str(-(-error.retry_after_ms // 1_000))
    if error.code in _CLOSING:
        response.force_close()
    return response


def refusal_of_http(error: web.HTTPException) -> web.Response:
    """What aiohttp itself refuses (unknown path, wrong method …), in the form of our own refusals."""
    code = _OF_STATUS.get(error.status) or ("BAD_REQUEST" if error.status < 500 else "INTERNAL")  # noqa: PLR2004
    response = refusal(ServiceError(code))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def plain(value: Any, *, status: int = 200) -> web.Response:
    """Any JSON value that is no message: health, readiness, the description of the interface."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=JSON)


def code_status(code: str) -> int:
    """The HTTP status of an error code."""
    return CATALOGUE[code][0]
