"""A small client of the bank host's admin HTTP, for demo, verification and tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import msgspec

from settlement.stubs.bankhost.wire import (
    Account,
    AccountBatch,
    AccountSpec,
    BankSummary,
    BookItem,
    BookPage,
    CutOver,
    Fault,
    FaultSpec,
    HangUp,
    LogPage,
    LogRow,
)

T = TypeVar("T")

_PAGE_ROWS = 1_000
_BATCH_ACCOUNTS = 1_000


class AdminError(Exception):
    """The admin refused; ``status`` is the HTTP status, ``code`` its word for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class BankHostAdmin:
    """Use as ``async with BankHostAdmin(base_url) as admin``, or call ``close``. Raises ``AdminError``, or what
    aiohttp raises when the host is away."""

    def __init__(self, base_url: str, *, timeout_s: float = 30.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> BankHostAdmin:
        """Itself; the connection is made when it is needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def put_accounts(self, accounts: Iterable[AccountSpec], *, only_new: bool = False) -> None:
        """Open or change accounts, in batches. ``only_new``: leave those that exist untouched."""
        specs = list(accounts)
        for start in range(0, len(specs), _BATCH_ACCOUNTS):
            batch = AccountBatch(accounts=specs[start : start + _BATCH_ACCOUNTS], only_new=only_new)
            await self._call("POST", "/accounts", dict[str, int], batch)

    async def account(self, bank: str, pan: str) -> Account:
        """One account."""
        return await self._call("GET", "/accounts", Account, bank=bank, pan=pan)

    async def books(self, bank: str) -> AsyncIterator[BookItem]:
        """Every operation of a bank, oldest first, over all pages."""
        after: int | None = 0
        while after is not None:
            page = await self._call("GET", "/books", BookPage, bank=bank, after=str(after), limit=str(_PAGE_ROWS))
            for item in page.items:
                yield item
            after = page.next_after

    async def summaries(self) -> list[BankSummary]:
        """Every bank's books in short."""
        answer = await self._call("GET", "/books/summary", dict[str, list[BankSummary]])
        return answer["banks"]

    async def log(self, bank: str, *, reference: str | None = None) -> AsyncIterator[LogRow]:
        """Every frame of a bank, oldest first; only those with this field 37, if given."""
        after: int | None = 0
        chosen = {} if reference is None else {"reference": reference}
        while after is not None:
            page = await self._call(
                "GET", "/log", LogPage, bank=bank, after=str(after), limit=str(_PAGE_ROWS), **chosen
            )
            for row in page.items:
                yield row
            after = page.next_after

    async def cut_over(self, bank: str | None = None) -> dict[str, str]:
        """End the business day of a bank (None: of all); the new dates by bank."""
        answer = await self._call("POST", "/cut-over", dict[str, dict[str, str]], CutOver(bank=bank))
        return answer["business_dates"]

    async def hang_up(self, bank: str | None = None) -> None:
        """Close every connection of a bank (None: of all) at once."""
        await self._call("POST", "/hang-up", dict[str, list[str]], HangUp(bank=bank))

    async def add_fault(self, spec: FaultSpec) -> Fault:
        """Set a fault."""
        return await self._call("POST", "/faults", Fault, spec)

    async def faults(self) -> list[Fault]:
        """All faults, spent ones too."""
        answer = await self._call("GET", "/faults", dict[str, list[Fault]])
        return answer["faults"]

    async def clear_faults(self, bank: str | None = None) -> None:
        """Take away the faults of a bank (None: all)."""
        chosen = {} if bank is None else {"bank": bank}
        await self._call("DELETE", "/faults", dict[str, int], **chosen)

    async def healthy(self) -> bool:
        """Whether the host answers and its books are open."""
        try:
            await self._call("GET", "/healthz", dict[str, Any])
        except (aiohttp.ClientError, AdminError, TimeoutError):
            return False
        return True

    async def _call(self, method: str, path: str, kind: type[T], body: object = None, **query: str) -> T:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        async with self._session.request(
            method, self._base_url + path, data=data, params=query, headers=headers
        ) as response:
            raw = await response.read()
            if not response.ok:
                raise _admin_error(response.status, raw)
            return msgspec.json.decode(raw, type=kind)


def _admin_error(status: int, raw: bytes) -> AdminError:
    try:
        detail = msgspec.json.decode(raw, type=dict[str, dict[str, str]])["error"]
        return AdminError(status, detail["code"], detail["message"])
    except (msgspec.DecodeError, KeyError):
        return AdminError(status, "HTTP", raw[:200].decode("utf-8", "replace"))
