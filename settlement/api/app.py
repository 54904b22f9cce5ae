"""The HTTP application, put together from its dependencies, and the runner that serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import REGISTRY, CollectorRegistry

import settlement
from settlement.api.handlers import SettlementHandlers, SignInHandlers
from settlement.api.limits import Admission, Limits
from settlement.api.middleware import Shed, observe
from settlement.api.operations import OPERATIONS
from settlement.api.pipeline import Pipeline
from settlement.api.ports import Engine, Terminals
from settlement.api.service_pages import add_service_pages
from settlement.api.stay_handlers import StayHandlers
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.ids import IdSource, SystemIds

ADMISSION = web.AppKey("admission", Admission)
"""The application's count of what is under way. It is closed when the application's runner begins to stop."""

KEEP_ALIVE_S = 75.0
LINGER_S = 10.0
"""How long the rest of a refused body is read and dropped, so that the client gets to read the refusal."""

log = structlog.get_logger("settlement.api")


def create_app(
    engine: Engine,
    terminals: Terminals,
    settings: Settings,
    *,
    limits: Limits | None = None,
    ids: IdSource | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> web.Application:
    """The application. Starts and stops neither engine nor database: that is its caller's.

    ``limits``: those that follow from the settings, if not given. ``ids``: where request ids come from.
    ``registry``: what /metrics shows.
    """
    limits = limits or Limits.of(settings)
    ids = ids or SystemIds(SystemClock())
    admission = Admission(limits)
    pipeline = Pipeline(terminals, admission)
    signed_in = {**SettlementHandlers(engine).table(), **StayHandlers(engine).table()}
    sign_in = SignInHandlers(terminals).table()
    shed = Shed()
    app = web.Application(middlewares=[_farewell(admission), observe(ids, shed)], client_max_size=limits.body_bytes_max)
    app[ADMISSION] = admission
    for operation in OPERATIONS:
        handler = (
            pipeline.authenticated(operation, signed_in[operation.name])
            if operation.authenticated
            else pipeline.open(operation, sign_in[operation.name])
        )
        app.router.add_route(operation.method, operation.path, handler, expect_handler=_expectation(limits))

    def reasons() -> list[str]:
        return ["the service is stopping"] if admission.closing else [*engine.ready(), *admission.troubles.reasons()]

    add_service_pages(app, reasons, registry, settlement.__version__)
    app.cleanup_ctx.append(_upkeep(terminals))
    app.on_shutdown.append(_close)
    app.on_cleanup.append(_last_words(shed))
    return app


def create_runner(app: web.Application, settings: Settings) -> web.AppRunner:
    """The runner with the settings that the application relies on. Signals are the caller's.

    A till that hangs up never cancels its request. Access lines are written by the application itself. ``cleanup()``
    stops listening, refuses what comes over open connections, and waits ``drain_s`` for the requests under way.
    """
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        handler_cancellation=False,
        keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=LINGER_S,
        shutdown_timeout=settings.drain_s,
    )


def _expectation(limits: Limits) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    """``Expect: 100-continue`` invites a body only if it may be taken; the handler then refuses it unseen."""

    async def invite(request: web.Request) -> None:
        expected = request.headers.get("Expect", "").lower() == "100-continue"
        if expected and (request.content_length or 0) <= limits.body_bytes_max and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # nothing of the answer itself was written yet

    return invite


def _farewell(admission: Admission) -> Middleware:
    """While the service stops, every answer says that its connection ends (``Connection: close``)."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if admission.closing:
            response.force_close()
        return response

    return middleware


async def _close(app: web.Application) -> None:
    app[ADMISSION].close()


def _last_words(shed: Shed) -> Callable[[web.Application], Awaitable[None]]:
    async def tell(_: web.Application) -> None:
        shed.tell()

    return tell


def _upkeep(terminals: Terminals) -> Callable[[web.Application], AsyncIterator[None]]:
    """Runs the registry's upkeep as long as the application."""

    async def run(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(
            terminals.keep_tidy(lambda error: log.warning("upkeep of terminals failed", exc_info=error))
        )
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return run
