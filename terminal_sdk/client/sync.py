"""The plain client, for till software without an event loop: the same terminal, the same protocol, blocking calls."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from terminal_sdk import wire
from terminal_sdk.client.bill import Bill, PresentCard
from terminal_sdk.client.enrolment import Credentials
from terminal_sdk.client.loop_thread import LoopThread
from terminal_sdk.client.retry import RetryPolicy
from terminal_sdk.client.terminal import Terminal
from terminal_sdk.client.transport import Transport
from terminal_sdk.clock import Clock
from terminal_sdk.crypto import Certificate, Sm2PrivateKey
from terminal_sdk.errors import TerminalError
from terminal_sdk.journal import Journal, JournalEntry
from terminal_sdk.results import Result, ReversalResult, Settled

T = TypeVar("T")


class SyncTerminal:
    """One enrolled terminal with blocking calls; use it as ``with SyncTerminal(...) as terminal``.

    Arguments, results and errors are those of ``Terminal``, which does the work on a loop in a thread of its own. Any
    threads may call it at once; connections are kept between calls. Ctrl-C during a call leaves the attempt in the
    journal: ``recover``, or ``settle`` under the same key, takes it up. After a fork the child opens its own.
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
        self.terminal_id = terminal_id
        self._terminal = Terminal(
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
        self._thread: LoopThread | None = None

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
        """Enrol with the operator's one-time code; see ``Terminal.enrol``."""
        thread = LoopThread("terminal-enrol")
        try:
            return thread.call(Terminal.enrol(base_url, terminal_id, code, store, policy=policy, tls=tls))
        finally:
            thread.close()

    def __enter__(self) -> Self:
        """Open the journal. Nothing is sent yet. Raises ``JournalError``, ``InvalidRequest`` (the address)."""
        if self._thread is not None:
            raise TerminalError("this terminal is open already")
        thread = LoopThread(f"terminal-{self.terminal_id}")
        try:
            thread.call(self._terminal.__aenter__())
        except BaseException:
            thread.close()
            raise
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close connections, journal and thread. What is still open stays in the journal for ``recover``."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            thread.call(self._terminal.__aexit__(kind, error, traceback))
        finally:
            thread.close()

    def quote(self, *, card: PresentCard, remainder: wire.Remainder = "bank", **bill: Unpack[Bill]) -> wire.Quote:
        """Who would pay what for this bill; see ``Terminal.quote``."""
        return self._run(self._terminal.quote(card=card, remainder=remainder, **bill))

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
        """Settle the bill; see ``Terminal.settle``."""
        return self._run(
            self._terminal.settle(
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
        )

    def wait(self, result: Result, *, timeout_s: float) -> Result:
        """Follow a result that is not final until it is; see ``Terminal.wait``."""
        return self._run(self._terminal.wait(result, timeout_s=timeout_s))

    def status(self, *, settlement_id: str | None = None, idempotency_key: str | None = None) -> Result:
        """What became of a settlement; see ``Terminal.status``."""
        return self._run(self._terminal.status(settlement_id=settlement_id, idempotency_key=idempotency_key))

    def reverse(
        self, *, settlement_id: str | None = None, idempotency_key: str | None = None, reason: str = "till"
    ) -> ReversalResult:
        """Take a settlement back whole; see ``Terminal.reverse``."""
        return self._run(
            self._terminal.reverse(settlement_id=settlement_id, idempotency_key=idempotency_key, reason=reason)
        )

    @overload
    def receipt(self, receipt_id: str | Settled, *, text: Literal[False] = False) -> wire.Receipt: ...
    @overload
    def receipt(self, receipt_id: str | Settled, *, text: Literal[True]) -> str: ...
    def receipt(self, receipt_id: str | Settled, *, text: bool = False) -> wire.Receipt | str:
        """The receipt of a result or by its name, as data, or its printable text; see ``Terminal.receipt``."""
        receipt = self._run(self._terminal.receipt(receipt_id))
        return receipt.text if text else receipt

    def open_attempts(self) -> list[JournalEntry]:
        """The attempts that have no answer; see ``Terminal.open_attempts``."""
        return self._run(self._terminal.open_attempts())

    def recover(self, *, timeout_s: float = 60.0) -> list[Result]:
        """After a start: find out what became of every open attempt; see ``Terminal.recover``."""
        return self._run(self._terminal.recover(timeout_s=timeout_s))

    def new_key(self) -> str:
        """A new idempotency key; see ``Terminal.new_key``."""
        return self._terminal.new_key()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            work.close()
            raise TerminalError("open the terminal first: with SyncTerminal(...) as terminal")
        return self._thread.call(work)
