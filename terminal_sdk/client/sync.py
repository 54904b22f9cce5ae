"""The synchronous client, for tills without an event loop: the asynchronous one, waited for."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import ssl
import weakref
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from terminal_sdk import wire
from terminal_sdk.client.bill import Bill, PresentCard
from terminal_sdk.client.enrolment import Credentials
from terminal_sdk.client.forwarding import Forwarder
from terminal_sdk.client.loop import LoopThread
from terminal_sdk.client.resuming import AskPaid, Paid
from terminal_sdk.client.retry import ForwardPolicy, RetryPolicy
from terminal_sdk.client.terminal import Terminal
from terminal_sdk.client.transport import Transport
from terminal_sdk.client.waiting import Waiting
from terminal_sdk.clock import Clock
from terminal_sdk.crypto import Certificate, Sm2PrivateKey
from terminal_sdk.errors import TerminalClosed, TerminalError
from terminal_sdk.journal import Journal, JournalEntry
from terminal_sdk.results import AnyResult, RefundResult, Result, ReversalResult, Settled

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R", bound=AnyResult)


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

    def quote(
        self,
        *,
        card: PresentCard,
        remainder: wire.Remainder = "bank",
        consent: wire.Consent | None = None,
        **bill: Unpack[Bill],
    ) -> wire.Quote:
        """Who would pay what for this bill, as ``Terminal.quote``. Changes nothing."""
        return self._call(self._terminal.quote, card=card, remainder=remainder, consent=consent, **bill)

    def settle(
        self,
        *,
        card: PresentCard,
        quote: wire.Quote | None = None,
        bank_ceiling_fen: int | None = None,
        pin: str | None = None,
        on_bank_decline: wire.OnBankDecline = "release",
        remainder: wire.Remainder = "bank",
        consent: wire.Consent | None = None,
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
            consent=consent,
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

    def refund(
        self,
        *,
        settlement_id: str,
        lines: Sequence[wire.RefundLine],
        reason: str = "till",
        idempotency_key: str | None = None,
    ) -> RefundResult:
        """Give lines of a settled bill back, whole or in part, as ``Terminal.refund``."""
        return self._call(
            self._terminal.refund,
            settlement_id=settlement_id,
            lines=lines,
            reason=reason,
            idempotency_key=idempotency_key,
        )

    def wait_refund(self, result: RefundResult, *, timeout_s: float) -> RefundResult:
        """Follow a refund that is not final until it is, or until the time is over, as ``Terminal.wait_refund``."""
        return self._call(self._terminal.wait_refund, result, timeout_s=timeout_s)

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

    def recover(self, *, timeout_s: float = 60.0) -> list[AnyResult]:
        """Find out what became of every open attempt, as ``Terminal.recover``; the first part of ``resume``."""
        return [_without_loop(result) for result in self._call(self._terminal.recover, timeout_s=timeout_s)]

    def resume(self, *, timeout_s: float = 60.0, paid: Paid | AskPaid = "print") -> list[AnyResult]:
        """What every start of a till begins with, as ``Terminal.resume``.

        A function given as ``paid`` is called in the terminal's own thread, and must not call the terminal.
        """
        found = self._call(self._terminal.resume, timeout_s=timeout_s, paid=paid)
        return [_without_loop(result) for result in found]

    def mark_handed_out(self, result: AnyResult | str) -> bool:
        """The patient has it: the receipt is printed, the outcome told; as ``Terminal.mark_handed_out``."""
        return self._call(self._terminal.mark_handed_out, result)

    def waiting(self) -> list[Waiting]:
        """All that is not done with, oldest first, as ``Terminal.waiting``. Asks nobody."""
        return self._call(self._terminal.waiting)

    def forwarder(
        self, policy: ForwardPolicy | None = None, *, on_result: Callable[[AnyResult], None] | None = None
    ) -> SyncForwarder:
        """Sends what is owed in the background: ``with terminal.forwarder():``. One at a time per journal.

        ``on_result`` hears of each end, in the terminal's own thread; it must not call the terminal.
        """
        return SyncForwarder(self._terminal.forwarder(policy, on_result=on_result), self._call)

    def new_key(self) -> str:
        """A new idempotency key, for a till that wants to store it with its own order before it calls ``settle``."""
        return self._terminal.new_key()

    def _call(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = self._loop
        if loop is None:
            raise TerminalClosed("open the terminal first: with SyncTerminal(...) as terminal")
        return loop.call(function, *args, **kwargs)


class SyncForwarder:
    """``Forwarder`` for a ``SyncTerminal``: ``with`` runs it in the terminal's own thread, ``once`` makes one pass."""

    def __init__(self, forwarder: Forwarder, call: _Call) -> None:
        self._forwarder = forwarder
        self._call = call

    def __enter__(self) -> Self:
        """Begin. Raises ``ForwarderBusy`` if another one is at work on this journal, ``JournalError``."""
        self._call(self._forwarder.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End. A try under way is cut off; it stays queued. Harmless after the terminal was left."""
        self.stop()

    def stop(self) -> None:
        """End, from wherever it was begun; harmless when it has ended already."""
        with contextlib.suppress(TerminalClosed):  # leaving the terminal has ended it
            self._call(self._forwarder.stop)

    def once(self) -> list[AnyResult]:
        """Try everything that is owed now, as ``Forwarder.once``."""
        return [_without_loop(result) for result in self._call(self._forwarder.once)]


class _Call(Protocol):
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T: ...


def _without_loop(result: R) -> R:
    """The result for a caller that cannot await: its own ``receipt`` says how to get one."""
    return dataclasses.replace(result, fetch_receipt=_no_loop) if isinstance(result, Settled) else result


def _no_loop(receipt_id: str) -> Coroutine[Any, Any, wire.Receipt]:
    raise TerminalError(f"this result has no loop to ask on: call terminal.receipt(result) (receipt {receipt_id})")
