"""The way of every request of version 1: body, MAC, a place, admission, decoding, handler; and its bounded time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import structlog
from aiohttp import web

from settlement.api.bodies import check_media_type, decode, read_body
from settlement.api.handlers import Call, Handler, OpenHandler
from settlement.api.limits import Admission
from settlement.api.line import RETRY_AFTER_MS
from settlement.api.operations import Operation
from settlement.api.ports import Terminals
from settlement.errors import ServiceError, early_or_unknown
from settlement.terminals import VerifiedRequest

VERIFIED = web.RequestKey("verified", VerifiedRequest)
"""Set once a request's MAC is right: from then on the answer carries a MAC too, refusals included."""
TERMINAL = web.RequestKey("terminal", str)
"""Who sent the request, for the log."""

log = structlog.get_logger("settlement.api")


class Pipeline:
    """Makes aiohttp handlers of the operations' handlers."""

    def __init__(self, terminals: Terminals, admission: Admission) -> None:
        self._terminals = terminals
        self._admission = admission
        self._limits = admission.limits
        self._running: set[asyncio.Task[web.Response]] = set()

    def authenticated(self, operation: Operation, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """An operation for signed-in terminals."""
        decoder = _decoder(operation)
        known = _query_names(operation)

        async def handle(request: web.Request) -> web.Response:
            with self._admission.receiving(_declared_size(request), operation.urgency):
                body = await read_body(request, self._limits)
            verified = self._terminals.verify(request.method, request.raw_path, request.headers, body)
            request[VERIFIED] = verified
            sender = verified.terminal_id or str(verified.session_id)
            if not self._admission.rates.take(sender):
                await self._refuse_slowly()
            slot = self._admission.enter(sender, operation.urgency)
            await slot.work()

            async def work() -> web.Response:
                with self._noting_troubles():
                    who = await self._terminals.admit(verified)
                    request[TERMINAL] = who.terminal_id
                    _check_query(request, known)
                    call = Call(who, request, _message(request, decoder, body), slot.parked)
                    with _said_early(operation):
                        return await handler(call)

            task = asyncio.create_task(work())
            task.add_done_callback(lambda _: slot.release())
            return await self._bounded(task)

        return handle

    def open(self, operation: Operation, handler: OpenHandler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """An operation for terminals that have no session yet."""
        decoder = _decoder(operation)
        known = _query_names(operation)

        async def handle(request: web.Request) -> web.Response:
            with self._admission.signing_in():
                body = await read_body(request, self._limits)
                _check_query(request, known)
                return await self._bounded(asyncio.create_task(_awaited(handler(_message(request, decoder, body)))))

        return handle

    @contextlib.contextmanager
    def _noting_troubles(self) -> Iterator[None]:
        try:
            yield
        except ServiceError as error:
            self._admission.troubles.note(error)
            raise

    async def _refuse_slowly(self) -> None:
        """Whoever asks too often waits for the refusal: answered at once it would only ask more often."""
        with self._admission.holding_back() as seconds:
            await asyncio.sleep(seconds)
        raise ServiceError(
            "TERMINAL_FLOODING", "This terminal asks too often; slow down.", retry_after_ms=RETRY_AFTER_MS
        )

    async def _bounded(self, task: asyncio.Task[web.Response]) -> web.Response:
        """The task's answer, or TIMED_OUT while the task goes on.

        Neither the time limit nor a till that hangs up, nor the server's stop, cancels what may be half of a
        settlement: the task is waited for, never awaited.
        """
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait({task}, timeout=self._limits.handler_timeout_s)
        finally:
            if not task.done():
                task.add_done_callback(_log_late)
        if not task.done():
            raise ServiceError("TIMED_OUT")
        return task.result()


@contextlib.contextmanager
def _said_early(operation: Operation) -> Iterator[None]:
    """See ``early_or_unknown``; an operation that moves no money begins nothing."""
    try:
        yield
    except ServiceError as error:
        told = early_or_unknown(error) if operation.changes else error
        if told is error:
            raise
        raise told from error


def _declared_size(request: web.Request) -> int | None:
    """Of the body, in bytes; None where it comes in chunks."""
    return request.content_length if request.content_length is not None or request.can_read_body else 0


def _decoder(operation: Operation) -> msgspec.json.Decoder[msgspec.Struct] | None:
    return None if operation.request is None else msgspec.json.Decoder(operation.request)


def _query_names(operation: Operation) -> frozenset[str]:
    return frozenset(parameter.name for parameter in operation.parameters if parameter.place == "query")


def _message(
    request: web.Request, decoder: msgspec.json.Decoder[msgspec.Struct] | None, body: bytes
) -> msgspec.Struct | None:
    if decoder is None:
        return None
    check_media_type(request)
    return decode(decoder, body)


def _check_query(request: web.Request, known: frozenset[str]) -> None:
    """Unknown and repeated parameters are refused, as unknown fields are. Raises BAD_FIELD."""
    for name in request.query:
        if name not in known:
            raise ServiceError("BAD_FIELD", "This query parameter is not known here.")
        if len(request.query.getall(name)) > 1:
            raise ServiceError("BAD_FIELD", "Give this query parameter once.", field=name)


async def _awaited(answer: Awaitable[web.Response]) -> web.Response:
    return await answer


def _log_late(task: asyncio.Task[web.Response]) -> None:
    """The end of a request that was answered 504; also fetches its exception, which nobody else will."""
    if task.cancelled():
        return
    error = task.exception()
    if error is None:
        log.info("late answer", status=task.result().status)
    elif isinstance(error, ServiceError):
        log.info("late answer", status=error.status, code=error.code)
    else:
        log.error("late failure", exc_info=error)
