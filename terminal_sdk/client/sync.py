"""The synchronous client, for tills without an event loop: the asynchronous one, waited for."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import ssl
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from terminal_sdk import wire
from terminal_sdk.client.bill import Bill, PresentCard
from terminal_sdk.client.enrolment import Credentials
from terminal_sdk.client.loop import LoopThread
from terminal_sdk.client.retry import RetryPolicy
from terminal_sdk.client.terminal import Terminal
from terminal_sdk.client.transport import Transport
from terminal_sdk.clock import Clock
from terminal_sdk.crypto import Certificate, Sm2PrivateKey
from terminal_sdk.errors import TerminalClosed, TerminalError
from terminal_sdk.journal import Journal, JournalEntry
from terminal_sdk.results import Result, ReversalResult, Settled

T = TypeVar("T")
P = ParamSpec("P")


class SyncTerminal:
    """The client of one enrolled terminal without ``await``; use it as ``with SyncTerminal(...) as terminal``.

    Arguments, results and errors are those of ``Terminal``, which it drives on a loop in a thread of its own. Any
    number of threads may call it at once (each with a card of its own); they share session and connections. Ctrl-C
    ends the call: the attempt stays in the journal. Leaving the ``with`` block waits for the calls of other threads;
    Ctrl-C during that cuts them off with ``asyncio.CancelledError``. Before entering, after leaving and in a forked
    process every call raises ``TerminalClosed``. In a coroutine use ``Terminal``: this one would hold up its loop.
    """

    def __init__(
        self,
        base_url: str,
        terminal_id: str,
        key: Sm2PrivateKey,
        certificate: Certificate,
        journal: str | Path | Journal,
        *,
        policy: RetryPolicy | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._make = functools.partial(
            Terminal,
            base_url,
            terminal_id,
            key,
            certificate,
            journal,
            policy=policy,
            tls=tls,
            clock=clock,
            transport=transport,
            jitter=jitter,
        )
        self.terminal_id = terminal_id
        self._terminal = self._make()
        self._loop: LoopThread | None = None

    @classmethod
    def enrol(
        cls,
        base_url: str,
        terminal_id: str,
        code: str,
        store: str | Path,
        *,
        policy: RetryPolicy | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Credentials:
        """Enrol with the operator's one-time code, as ``Terminal.enrol``; no terminal has to be open."""
        loop = LoopThread(contextlib.nullcontext())
        loop.start()
        try:
            return loop.call(Terminal.enrol, base_url, terminal_id, code, store, policy=policy, tls=tls)
        finally:
            loop.close()

    def __enter__(self) -> Self:
        """Start the loop's thread and open the journal. Nothing is sent yet. Raises as ``Terminal`` does."""
        if self._loop is not None and self._loop.is_ours:
            raise TerminalError("the terminal is open already; one SyncTerminal serves all threads")
        self._terminal = self._make()
        loop = LoopThread(self._terminal)
        # Where it is never left: closed with the object, or with the interpreter.
        self._forgotten = weakref.finalize(self, loop.abandon)
        loop.start()
        self._loop = loop
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the calls of other threads end; close connections and journal, end the thread.

        What is still open stays in the journal for ``recover``.
        """
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
            self._forgotten.detach()

    def quote(self, *, card: PresentCard, remainder: wire.Remainder = "bank", **bill: Unpack[Bill]) -> wire.Quote:
        """Who would pay what for this bill, as ``Terminal.quote``. Changes nothing."""
        return self._call(self._terminal.quote, card=card, remainder=remainder, **bill)

    def settle(
        self,
        *,
        card: PresentCard,
        quote: wire.Quote | None = None,
        bank_ceiling_fen: int | None = None,
        pin: str | None = None,
        on_bank_decline: wire.OnBankDecline = "release",
        remainder: wire.Remainder = "bank",
        deadline_ms: int = 150_000,
        wait_ms: int = 10_000,
        idempotency_key: str | None = None,
        **bill: Unpack[Bill],
    ) -> Result:
        """Settle the bill, as ``Terminal.settle``. The receipt of a ``Settled``: ``terminal.receipt(result)``."""
        result = self._call(
            self._terminal.settle,
            card=card,
            quote=quote,
            bank_ceiling_fen=bank_ceiling_fen,
            pin=pin,
            on_bank_decline=on_bank_decline,
            remainder=remainder,
            deadline_ms=deadline_ms,
            wait_ms=wait_ms,
            idempotency_key=idempotency_key,
            **bill,
        )
        return _without_loop(result)

    def wait(self, result: Result, *, timeout_s: float) -> Result:
        """Follow a result that is not final until it is, or until the time is over, as ``Terminal.wait``."""
        return _without_loop(self._call(self._terminal.wait, result, timeout_s=timeout_s))

    def status(self, *, settlement_id: str | None = None, idempotency_key: str | None = None) -> Result:
        """What became of a settlement, by exactly one of its names, as ``Terminal.status``."""
        asked = self._call(self._terminal.status, settlement_id=settlement_id, idempotency_key=idempotency_key)
        return _without_loop(asked)

    def reverse(
        self, *, settlement_id: str | None = None, idempotency_key: str | None = None, reason: str = "till"
    ) -> ReversalResult:
        """Take a settlement back whole, by exactly one of its names, as ``Terminal.reverse``."""
        return self._call(
            self._terminal.reverse, settlement_id=settlement_id, idempotency_key=idempotency_key, reason=reason
        )

    @overload
    def receipt(self, receipt: str | Settled, *, text: Literal[False] = False) -> wire.Receipt: ...
    @overload
    def receipt(self, receipt: str | Settled, *, text: Literal[True]) -> str: ...
    def receipt(self, receipt: str | Settled, *, text: bool = False) -> wire.Receipt | str:
        """The receipt of a settled bill, or of that identifier, as data or as its printable text (48 columns)."""
        found = self._call(self._terminal.receipt, receipt)
        return found.text if text else found

    def open_attempts(self) -> list[JournalEntry]:
        """The attempts that have no answer, oldest first, those in progress included."""
        return self._call(self._terminal.open_attempts)

    def recover(self, *, timeout_s: float = 60.0) -> list[Result]:
        """After a start: find out what became of every open attempt, as ``Terminal.recover``."""
        return [_without_loop(result) for result in self._call(self._terminal.recover, timeout_s=timeout_s)]

    def new_key(self) -> str:
        """A new idempotency key, for a till that wants to store it with its own order before it calls ``settle``."""
        return self._terminal.new_key()

    def _call(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = self._loop
        if loop is None:
            raise TerminalClosed("open the terminal first: with SyncTerminal(...) as terminal")
        return loop.call(function, *args, **kwargs)


def _without_loop(result: Result) -> Result:
    """The result for a caller that cannot await: its own ``receipt`` says how to get one."""
    return dataclasses.replace(result, fetch_receipt=_no_loop) if isinstance(result, Settled) else result


def _no_loop(receipt_id: str) -> Coroutine[Any, Any, wire.Receipt]:
    raise TerminalError(f"this result has no loop to ask on: call terminal.receipt(result) (receipt {receipt_id})")
