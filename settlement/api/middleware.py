"""Around every request: an id, one log line, metrics, refusals as JSON, headers, and the MAC of the answer."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from settlement.api import metrics
from settlement.api.answers import refusal, refusal_of_http
from settlement.api.pipeline import TERMINAL, VERIFIED
from settlement.errors import ServiceError
from settlement.ids import IdSource
from terminal_sdk.signing import MAC_HEADER, response_mac

REQUEST_ID_HEADER = "X-Request-Id"
UNMATCHED = "unmatched"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_CODE = web.RequestKey("code", str)
_SHED = frozenset({"OVERLOADED", "TERMINAL_FLOODING"})
_SHED_TOLD_EVERY_S = 1.0
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_SERVER_ERROR = 500
_CLIENT_CLOSED = 499

log = structlog.get_logger("settlement.api")


class Shed:
    """Refusals for want of room are counted and told once a second: a line each would cost more than the refusal.

    What they were refused for (a database that is away, with its traceback) is told once a second too.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._due: asyncio.TimerHandle | None = None
        self._cause_after: dict[str, float] = {}

    def first_cause(self, code: str) -> bool:
        """Whether the cause of this refusal is to be told."""
        now = time.monotonic()
        if now < self._cause_after.get(code, 0.0):
            return False
        self._cause_after[code] = now + _SHED_TOLD_EVERY_S
        return True

    def note(self, code: str, route: str) -> None:
        """One refusal."""
        if not self._counts:
            # In a context of its own: the line is nobody's request.
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(_SHED_TOLD_EVERY_S, self.tell, context=contextvars.Context())
        self._counts[code, route] += 1

    def tell(self) -> None:
        """One line for each code and route; at the application's end too, so that none goes untold."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        counts, self._counts = self._counts, Counter()
        for (code, route), count in counts.items():
            log.warning("requests refused", code=code, route=route, count=count)


def observe(ids: IdSource, shed: Shed) -> Middleware:
    """The outermost middleware. ``shed`` counts what it refuses for want of room."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = ids.token(8).hex()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        try:
            response = await _answered(request, handler, shed)
        except asyncio.CancelledError:
            _record(request, _CLIENT_CLOSED, time.perf_counter() - started, shed)
            raise
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers[REQUEST_ID_HEADER] = request_id
        _sign(request, response)
        _record(request, response.status, time.perf_counter() - started, shed)
        return response

    return middleware


async def _answered(request: web.Request, handler: Handler, shed: Shed) -> web.StreamResponse:
    try:
        return await handler(request)
    except ServiceError as error:
        request[_CODE] = error.code
        if error.status >= _SERVER_ERROR and error.__cause__ is not None and shed.first_cause(error.code):
            log.warning("refused for a cause", code=error.code, exc_info=error.__cause__)
        return refusal(error)
    except web.HTTPException as error:
        return refusal_of_http(error)
    except Exception:
        log.exception("request failed")
        request[_CODE] = "INTERNAL"
        return refusal(ServiceError("INTERNAL"))


def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """An answer to a request whose MAC was right proves who gave it, and to which request."""
    verified = request.get(VERIFIED)
    if verified is not None and isinstance(response, web.Response):
        body = response.body if isinstance(response.body, bytes) else b""
        response.headers[MAC_HEADER] = response_mac(verified.keys.mac_key, response.status, verified.nonce, body)


def _record(request: web.Request, status: int, seconds: float, shed: Shed) -> None:
    """Metrics and the log line; the route, never the path with its ids, and nothing of any body."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else UNMATCHED
    method = request.method if request.method in _METHODS else "other"
    metrics.REQUESTS.labels(method, route, str(status)).inc()
    metrics.LATENCY.labels(method, route).observe(seconds)
    code = request.get(_CODE)
    if code is not None:
        metrics.REFUSALS.labels(code).inc()
        if code in metrics.AUTHENTICATION_CODES:
            metrics.AUTHENTICATION_FAILURES.labels(code).inc()
    if code in _SHED:
        shed.note(code, route)
        return
    write = log.debug if route in _QUIET else log.warning if status >= _SERVER_ERROR else log.info
    write(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1_000, 1),
        terminal=request.get(TERMINAL),
        code=code,
    )
