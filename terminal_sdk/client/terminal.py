"""The terminal: what a till calls, and in which order things become durable."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import re
import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, Unpack, cast, overload

import msgspec

from terminal_sdk import wire
from terminal_sdk.client import bill as bills
from terminal_sdk.client.bill import Bill, PresentCard
from terminal_sdk.client.caller import Caller
from terminal_sdk.client.conclusion import Conclusions
from terminal_sdk.client.delivery import Delivery
from terminal_sdk.client.endings import Endings
from terminal_sdk.client.enrolment import Credentials, enrol
from terminal_sdk.client.following import Following
from terminal_sdk.client.forwarding import Forwarder, Forwarding
from terminal_sdk.client.owing import Owing
from terminal_sdk.client.resuming import AskPaid, Paid, Resuming
from terminal_sdk.client.retry import ForwardPolicy, Patience, RetryPolicy
from terminal_sdk.client.session import Sessions
from terminal_sdk.client.settling import Settling
from terminal_sdk.client.transport import HttpTransport, Transport
from terminal_sdk.client.waiting import Waiting, waiting_in
from terminal_sdk.clock import Clock, SystemClock
from terminal_sdk.crypto import Certificate, Sm2PrivateKey
from terminal_sdk.errors import AttemptStillOpen, InvalidRequest, TerminalClosed
from terminal_sdk.journal import Journal, JournalEntry
from terminal_sdk.results import AnyResult, RefundResult, Result, ReversalResult, Settled

_RANDOM_KEY_BYTES = 8
_IDENTIFIER = re.compile(r"[A-Za-z0-9-]{1,64}")


class Terminal:
    """The asynchronous client of one enrolled terminal; use it as ``async with Terminal(...) as terminal``.

    ``journal``: a path, or an open ``Journal`` (which stays open). ``policy``: time-outs and retries. ``tls``: whom to
    trust behind an https address. ``clock``, ``transport`` and ``jitter`` (random numbers in [0, 1)) can be replaced.

    It signs in by itself. Calls that change nothing (``quote``, ``status``, ``receipt``) raise ``RequestRefused`` or
    ``ServiceUnreachable``; ``settle``, ``reverse`` and ``refund`` answer with a result, and raise only when nothing
    was sent: ``InvalidRequest``, ``SignInRefused``, ``ServiceUnreachable``, ``AnswerInvalid``, ``JournalError``,
    ``KeyReused``, ``AttemptStillOpen``, ``QueueFull``. Errors of card and reader pass through, before anything is
    written.
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
        self._base_url = base_url
        self._key = key
        self._certificate = certificate
        self._journal_given = journal
        self._policy = policy or RetryPolicy()
        self._tls = tls
        self._clock = clock or SystemClock()
        self._transport_given = transport
        self._jitter = jitter
        self._running: set[str] = set()
        self._forwarders: set[Forwarder] = set()
        self._is_open = False

    @classmethod
    async def enrol(
        cls,
        base_url: str,
        terminal_id: str,
        code: str,
        store: str | Path,
        *,
        policy: RetryPolicy | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Credentials:
        """Enrol with the operator's one-time code; the credentials are written to ``store`` and returned.

        The key is made here and is in ``store`` before the first send; after a lost answer call it again with the same
        ``store``. Raises ``EnrolmentRefused``, ``ServiceUnreachable``, ``AnswerInvalid``, ``CredentialsInvalid``.
        """
        limits = policy or RetryPolicy()
        transport = _http(base_url, limits, tls)
        try:
            return await enrol(transport, terminal_id=terminal_id, code=code, store=store, policy=limits)
        finally:
            await transport.close()

    async def __aenter__(self) -> Self:
        """Open the journal. Nothing is sent yet. Raises ``JournalError``, ``InvalidRequest`` (the address)."""
        self._transport = self._transport_given or _http(self._base_url, self._policy, self._tls)
        try:
            self._journal = await self._open_journal()
        except BaseException:
            await self._close_transport()
            raise
        self._sessions = Sessions(
            self._transport,
            self._clock,
            terminal_id=self.terminal_id,
            key=self._key,
            certificate=self._certificate,
            timeout_s=self._policy.answer_timeout_s,
        )
        self._caller = Caller(self._transport, self._sessions)
        self._delivery = Delivery(self._caller, self._journal, self._clock, self._policy, self._jitter)
        endings = Endings(self._journal, self._clock, self.receipt)
        self._owing = Owing(self._delivery, endings, self._journal, self._clock, terminal_id=self.terminal_id)
        conclusions = Conclusions(self._delivery, self._sessions, endings, self._owing)
        self._settling = Settling(
            self._sessions, self._delivery, conclusions, endings, self._journal, terminal_id=self.terminal_id
        )
        self._following = Following(self._caller, self._delivery, conclusions, endings, self._journal, self._policy)
        self._resuming = Resuming(self._following, self._owing, endings, self._journal)
        self._forwarding = Forwarding(self._owing, conclusions, self._journal, self._clock, self._jitter)
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close connections and journal. What is still open stays in the journal for ``resume``."""
        self._is_open = False
        for forwarder in list(self._forwarders):
            await forwarder.stop()
        await self._close_transport()
        if not isinstance(self._journal_given, Journal):
            await asyncio.to_thread(self._journal.close)

    async def quote(
        self,
        *,
        card: PresentCard,
        remainder: wire.Remainder = "bank",
        consent: wire.Consent | None = None,
        **bill: Unpack[Bill],
    ) -> wire.Quote:
        """Who would pay what for this bill. Changes nothing. ``remainder``: who pays what insurance does not ·
        ``consent``: as for ``settle``.
        """
        patience = self._patience()
        reading = await asyncio.to_thread(card.read)
        request = bills.quote_request(bill, reading.reference(), remainder, consent)
        return await self._caller.ask("POST", "/v1/quotes", wire.Quote, self._delivery.tries(patience), request)

    async def settle(
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
        """Settle the bill: exactly one of ``quote`` and ``bank_ceiling_fen`` (fen) says what the patient agreed to.

        ``pin``: the bank PIN, as the patient typed it · ``on_bank_decline``: undo all, or leave the rest as cash ·
        ``consent``: ``without_insurance`` where the patient agrees that bank or cash pay all of it while the card's
        insurance side is frozen; it changes nothing where insurance can pay ·
        ``deadline_ms``: after it the service turns an unanswered bill back · ``wait_ms``: how long the service may
        hold its answer. One call is one attempt under one key, made here unless ``idempotency_key`` is given; a key
        that the journal knows continues its attempt (same request) or answers from it.
        """
        agreed = bills.agreed_to(quote, bank_ceiling_fen)
        patience = self._patience()
        key = idempotency_key or self.new_key()
        reading = await asyncio.to_thread(card.read)
        draft = wire.SettlementRequest(
            idempotency_key=key,
            visit_no=bill["visit_no"],
            visit_type=bill["visit_type"],
            service_date=bill["service_date"],
            card=reading.reference(),
            lines=list(bill["lines"]),
            total_fen=bills.total_fen(bill),
            proof=_NO_PROOF,
            quote=quote.token if quote else None,
            bank_ceiling_fen=bank_ceiling_fen,
            remainder=remainder,
            consent=consent,
            on_bank_decline=on_bank_decline,
            deadline_ms=deadline_ms,
            wait_ms=wait_ms,
        )
        bills.checked(draft)
        with self._running_under(key):
            return await self._settling.settle(draft, agreed, card, pin, patience)

    async def wait(self, result: Result, *, timeout_s: float) -> Result:
        """Follow a result that is not final until it is, or until the time is over; then as it stands."""
        self._require_open()
        # What began as a bill never ends as a refund.
        return cast("Result", await self._following.wait(result, Patience(self._clock, timeout_s)))

    async def status(self, *, settlement_id: str | None = None, idempotency_key: str | None = None) -> Result:
        """What became of a settlement, by exactly one of its names.

        A key that the service does not know, but this till may have sent, is ``NotYetKnown``: it may be on its way.
        """
        patience = self._patience()
        if settlement_id is not None and idempotency_key is None:
            return await self._following.status_by_id(_checked_id(settlement_id), patience)
        if idempotency_key is not None and settlement_id is None:
            return await self._following.status_by_key(_checked_key(idempotency_key), patience)
        raise InvalidRequest("give exactly one of settlement_id and idempotency_key")

    async def reverse(
        self, *, settlement_id: str | None = None, idempotency_key: str | None = None, reason: str = "till"
    ) -> ReversalResult:
        """Take a settlement back whole, by exactly one of its names; by key also if the original never arrived.

        Repeating it is harmless: the same target and reason are one reversal. ``NotYetKnown``: it is queued in the
        journal, for a forwarder or the next ``resume``.
        """
        patience = self._patience()
        if settlement_id is not None and idempotency_key is None:
            return await self._owing.reverse_id(_checked_id(settlement_id), reason, patience)
        if idempotency_key is not None and settlement_id is None:
            return await self._owing.reverse_key(_checked_key(idempotency_key), reason, patience)
        raise InvalidRequest("give exactly one of settlement_id and idempotency_key")

    async def refund(
        self,
        *,
        settlement_id: str,
        lines: Sequence[wire.RefundLine],
        reason: str = "till",
        idempotency_key: str | None = None,
    ) -> RefundResult:
        """Give lines of a settled bill back, whole or in part; amounts are fen.

        One call is one refund under one key of its own, made here unless ``idempotency_key`` is given; a key that the
        journal knows goes on with its refund (same lines and reason) or answers from it. ``NotYetKnown``: it is queued
        in the journal, and must not be asked for again under a new key: the patient would be paid twice.
        """
        patience = self._patience()
        key = _checked_key(idempotency_key or self.new_key())
        with self._running_under(key):
            return await self._owing.refund(key, _checked_id(settlement_id), lines, reason, patience)

    async def wait_refund(self, result: RefundResult, *, timeout_s: float) -> RefundResult:
        """Follow a refund that is not final until it is, or until the time is over; then as it stands."""
        self._require_open()
        # What began as a refund ends as one.
        return cast("RefundResult", await self._following.wait(result, Patience(self._clock, timeout_s)))

    @overload
    async def receipt(self, receipt: str | Settled, *, text: Literal[False] = False) -> wire.Receipt: ...
    @overload
    async def receipt(self, receipt: str | Settled, *, text: Literal[True]) -> str: ...
    async def receipt(self, receipt: str | Settled, *, text: bool = False) -> wire.Receipt | str:
        """The receipt of a settled bill, or of that identifier, as data or as its printable text (48 columns)."""
        patience = self._patience()
        name = _checked_id(receipt.receipt_id if isinstance(receipt, Settled) else receipt)
        found = await self._caller.ask("GET", f"/v1/receipts/{name}", wire.Receipt, self._delivery.tries(patience))
        return found.text if text else found

    async def open_attempts(self) -> list[JournalEntry]:
        """The attempts that have no answer, oldest first, those in progress included."""
        self._require_open()
        return await asyncio.to_thread(self._journal.open_entries)

    async def recover(self, *, timeout_s: float = 60.0) -> list[AnyResult]:
        """Find out what became of every open attempt, or make certain that nothing will; the first part of ``resume``.

        What is owed goes on first. A settlement is asked for under its key; one that the service does not know is sent
        again within its deadline (never with a PIN from an earlier session), else sealed, so that it can never be
        charged. What stays open is ``NotYetKnown``.
        """
        self._require_open()
        return await self._following.recover(Patience(self._clock, timeout_s), self._running)

    async def resume(self, *, timeout_s: float = 60.0, paid: Paid | AskPaid = "print") -> list[AnyResult]:
        """What every start of a till begins with: ``recover``, and then all whose end was never handed out.

        Each bill comes once. ``Settled``: print its receipt. ``Declined``, ``Reversed``, ``Refused``, ``Refunded``:
        tell, then ``mark_handed_out``, as after every call. ``NotYetKnown``: still open; a forwarder goes on with it.
        ``paid``: what to do with a bill that is paid and never printed, for all (``"print"``, ``"reverse"``: the
        patient has left) or asked for each; it is called in the terminal's loop and must not call the terminal.
        """
        self._require_open()
        return await self._resuming.resume(Patience(self._clock, timeout_s), self._running, paid)

    async def mark_handed_out(self, result: AnyResult | str) -> bool:
        """The patient has it: the receipt is printed, the outcome told. True if the journal did not know that yet.

        ``result``: or the key of its attempt. Nothing is sent; ``resume`` and ``waiting`` name it no more. What is not
        certain has nothing to hand out and is left as it is.
        """
        self._require_open()
        key = result if isinstance(result, str) else result.idempotency_key
        return await asyncio.to_thread(self._journal.mark_handed_out, key, self._clock.now())

    async def waiting(self) -> list[Waiting]:
        """All that is not done with, oldest first: to be sent, to be learned, to be handed out. Asks nobody."""
        self._require_open()
        return await asyncio.to_thread(waiting_in, self._journal)

    def forwarder(
        self, policy: ForwardPolicy | None = None, *, on_result: Callable[[AnyResult], None] | None = None
    ) -> Forwarder:
        """Sends what is owed in the background: ``async with terminal.forwarder():``. One at a time per journal.

        ``on_result`` hears of each end, in the terminal's loop; it must not call the terminal.
        """
        self._require_open()
        return Forwarder(self._forwarding, self._forwarders, policy or ForwardPolicy(), on_result)

    def new_key(self) -> str:
        """A new idempotency key, for a till that wants to store it with its own order before it calls ``settle``."""
        moment = self._clock.now().astimezone(dt.UTC)
        return f"{self.terminal_id}-{moment:%Y%m%d%H%M%S}-{secrets.token_hex(_RANDOM_KEY_BYTES)}"

    @contextmanager
    def _running_under(self, key: str) -> Iterator[None]:
        if key in self._running:
            raise AttemptStillOpen(key)
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    def _patience(self) -> Patience:
        self._require_open()
        return Patience(self._clock, self._policy.patience_s)

    def _require_open(self) -> None:
        if not self._is_open:
            raise TerminalClosed("open the terminal first: async with Terminal(...) as terminal")

    async def _open_journal(self) -> Journal:
        if isinstance(self._journal_given, Journal):
            return self._journal_given
        return await asyncio.to_thread(Journal, self._journal_given, terminal_id=self.terminal_id, key=self._key)

    async def _close_transport(self) -> None:
        if self._transport_given is None:
            await self._transport.close()


_NO_PROOF = wire.LegacyProof(static_data="00", check_value="0" * 16)
"""Stands in a draft until the card has proved itself; never written and never sent."""


def _http(base_url: str, policy: RetryPolicy, tls: ssl.SSLContext | None) -> HttpTransport:
    return HttpTransport(
        base_url, connect_timeout_s=policy.connect_timeout_s, answer_bytes_max=policy.answer_bytes_max, tls=tls
    )


def _checked_id(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise InvalidRequest("the identifier is not one that the service gives")
    return text


def _checked_key(key: str) -> str:
    try:
        return msgspec.convert(key, wire.IdempotencyKey)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"idempotency_key: {error}") from error
