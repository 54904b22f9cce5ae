"""The admin HTTP of the bank host: accounts, books, frame log, faults; meant for loopback, without authentication."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import msgspec
from aiohttp import web

from settlement.stubs.bankhost import queries
from settlement.stubs.bankhost.bank import StubBank
from settlement.stubs.bankhost.books import Books
from settlement.stubs.bankhost.faults import FaultError, FaultPanel
from settlement.stubs.bankhost.page import render
from settlement.stubs.bankhost.wire import AccountBatch, AccountSpec, CutOver, FaultSpec, HangUp

T = TypeVar("T")

_BODY_MOST_BYTES = 8 << 20
_PAGE_ROWS, _PAGE_ROWS_MOST = 500, 5_000
_PAGE_FRAMES = 20


class _Refused(Exception):
    """A request the admin refuses, as HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def build_admin(banks: Mapping[str, StubBank], faults: FaultPanel) -> web.Application:
    """The aiohttp application over these banks."""
    admin = _Admin(banks, faults)
    app = web.Application(middlewares=[_errors], client_max_size=_BODY_MOST_BYTES)
    app.add_routes(
        [
            web.get("/", admin.page),
            web.get("/healthz", admin.health),
            web.post("/accounts", admin.put_accounts),
            web.get("/accounts", admin.get_account),
            web.get("/books", admin.books),
            web.get("/books/summary", admin.summary),
            web.get("/log", admin.log),
            web.post("/cut-over", admin.cut_over),
            web.post("/hang-up", admin.hang_up),
            web.post("/faults", admin.add_fault),
            web.get("/faults", admin.list_faults),
            web.delete("/faults", admin.clear_faults),
        ]
    )
    return app


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Refused as error:
        return _json({"error": {"code": error.code, "message": error.message}}, error.status)
    except FaultError as error:
        return _json({"error": {"code": "BAD_FAULT", "message": str(error)}}, 422)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


async def _body(request: web.Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.ValidationError as error:
        raise _Refused(422, "BAD_FIELD", str(error)) from None
    except msgspec.DecodeError as error:
        raise _Refused(400, "BAD_JSON", str(error)) from None


def _whole(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal() or not text.isascii() or int(text) > most:
        raise _Refused(422, "BAD_FIELD", f"{name} must be a whole number up to {most}")
    return int(text)


class _Admin:
    def __init__(self, banks: Mapping[str, StubBank], faults: FaultPanel) -> None:
        self._banks = banks
        self._faults = faults

    def _bank(self, code: str | None) -> StubBank:
        bank = self._banks.get(code or "")
        if bank is None:
            raise _Refused(404, "NO_SUCH_BANK", f"this process plays {', '.join(self._banks)}")
        return bank

    def _chosen(self, code: str | None) -> list[StubBank]:
        return list(self._banks.values()) if code is None else [self._bank(code)]

    async def health(self, _: web.Request) -> web.Response:
        """Whether every bank's books answer."""
        for bank in self._banks.values():
            await bank.ask(lambda books: books.business_date())
        return _json({"status": "ok", "ports": {code: bank.port for code, bank in self._banks.items()}})

    async def put_accounts(self, request: web.Request) -> web.Response:
        """Open or change accounts, bank by bank, each bank's in one transaction."""
        batch = await _body(request, AccountBatch)
        ordered = sorted(batch.accounts, key=lambda spec: spec.bank)
        by_bank = {code: list(group) for code, group in itertools.groupby(ordered, key=lambda spec: spec.bank)}
        for code in by_bank:
            self._bank(code)
        for code, specs in by_bank.items():
            await self._bank(code).ask(partial(_put_accounts, specs=specs, only_new=batch.only_new))
        return _json({"accounts": len(batch.accounts)})

    async def get_account(self, request: web.Request) -> web.Response:
        """One account."""
        bank = self._bank(request.query.get("bank"))
        pan = request.query.get("pan", "")
        account = await bank.ask(lambda books: queries.account(books.store, bank.profile.code, pan))
        if account is None:
            raise _Refused(404, "NO_SUCH_ACCOUNT", "this bank has no such account")
        return _json(account)

    async def books(self, request: web.Request) -> web.Response:
        """A page of operations."""
        bank = self._bank(request.query.get("bank"))
        after = _whole(request, "after", 0, 2**62)
        limit = max(1, _whole(request, "limit", _PAGE_ROWS, _PAGE_ROWS_MOST))
        return _json(await bank.ask(lambda books: queries.books(books.store, bank.profile.code, after, limit)))

    async def summary(self, _: web.Request) -> web.Response:
        """Every bank's books in short."""
        return _json({"banks": [await bank.ask(queries.summary) for bank in self._banks.values()]})

    async def log(self, request: web.Request) -> web.Response:
        """A page of the frame log."""
        bank = self._bank(request.query.get("bank"))
        after = _whole(request, "after", 0, 2**62)
        limit = max(1, _whole(request, "limit", _PAGE_ROWS, _PAGE_ROWS_MOST))
        reference = request.query.get("reference")
        return _json(await bank.ask(lambda books: queries.frames(books.store, after, limit, reference)))

    async def cut_over(self, request: web.Request) -> web.Response:
        """End the business day of one bank or of all."""
        asked = await _body(request, CutOver)
        chosen = self._chosen(asked.bank)
        dates = {bank.profile.code: await bank.ask(lambda books: books.cut_over()) for bank in chosen}
        return _json({"business_dates": dates})

    async def hang_up(self, request: web.Request) -> web.Response:
        """Close the connections of one bank or of all."""
        chosen = self._chosen((await _body(request, HangUp)).bank)
        for bank in chosen:
            bank.hang_up()
        return _json({"banks": [bank.profile.code for bank in chosen]})

    async def add_fault(self, request: web.Request) -> web.Response:
        """Set a fault."""
        spec = await _body(request, FaultSpec)
        if spec.bank is not None:
            self._bank(spec.bank)
        return _json(self._faults.add(spec), 201)

    async def list_faults(self, _: web.Request) -> web.Response:
        """All faults."""
        return _json({"faults": self._faults.entries()})

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Take faults away."""
        return _json({"cleared": self._faults.clear(request.query.get("bank"))})

    async def page(self, _: web.Request) -> web.Response:
        """The page for people."""
        summaries = [await bank.ask(queries.summary) for bank in self._banks.values()]
        frames = {
            code: await bank.ask(lambda books: queries.last_frames(books.store, _PAGE_FRAMES))
            for code, bank in self._banks.items()
        }
        return web.Response(text=render(summaries, frames, self._faults.entries()), content_type="text/html")


def _put_accounts(books: Books, specs: list[AccountSpec], *, only_new: bool) -> None:
    for spec in specs:
        books.put_account(spec, only_new=only_new)
