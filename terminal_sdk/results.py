"""What became of a bill, as types: a till matches on them and cannot mistake doubt for an outcome."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from terminal_sdk.journal import Operation
from terminal_sdk.wire import ErrorDetail, Quote, Receipt, Refund, Reversal, Settlement, Split

FetchReceipt = Callable[[str], Coroutine[Any, Any, Receipt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The bill is paid: hand out the goods, print the receipt, collect ``cash_fen`` from the patient."""

    settlement: Settlement
    fetch_receipt: FetchReceipt = field(repr=False, compare=False)

    @property
    def idempotency_key(self) -> str:
        """The key of the attempt."""
        return self.settlement.idempotency_key

    @property
    def settlement_id(self) -> str:
        """The service's identifier of the settlement."""
        return self.settlement.settlement_id

    @property
    def split(self) -> Split:
        """Who paid what, in fen."""
        return self.settlement.split

    @property
    def cash_fen(self) -> int:
        """What is left to be paid in cash, in fen (own choice, or because the bank did not pay)."""
        return self.settlement.split.cash_fen

    @property
    def receipt_id(self) -> str:
        """The name of its receipt."""
        return self.settlement.receipt_id or self.settlement.settlement_id

    def receipt(self) -> Coroutine[Any, Any, Receipt]:
        """The receipt, when awaited; its ``text`` is ready to print. Raises ``ServiceUnreachable``, ``RequestRefused``.

        Of a ``SyncTerminal`` nothing can be awaited: there ask ``terminal.receipt(result)``; this raises
        ``TerminalError`` and says so.
        """
        return self.fetch_receipt(self.receipt_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """The bill is not paid and nothing was charged. ``bank_code`` is the bank's own response code, if it said no."""

    settlement: Settlement
    code: str
    message: str
    bank_code: str | None

    @property
    def idempotency_key(self) -> str:
        """The key of the attempt."""
        return self.settlement.idempotency_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversed:
    """The bill is not paid: it was taken back, by a reversal or because its deadline passed.

    ``final`` False: decided for ever, only the bank is still being told; the till has nothing left to do. ``arrived``
    False: the original never reached the service, and never can any more. It has a ``settlement`` or a ``reversal``.
    """

    idempotency_key: str
    settlement: Settlement | None = None
    reversal: Reversal | None = None

    @property
    def final(self) -> bool:
        """Whether every party has been told."""
        return bool(self.reversal.final if self.reversal else self.settlement and self.settlement.final)

    @property
    def arrived(self) -> bool:
        """Whether there was a settlement to take back."""
        return self.settlement is not None or (self.reversal is not None and self.reversal.settlement_id is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """Lines of a settled bill are given back: give the patient the receipt, and ``cash_fen`` back in cash.

    ``final`` False: decided for ever, only the bank is still being told; its receipt comes when that is done.
    """

    idempotency_key: str
    refund: Refund

    @property
    def final(self) -> bool:
        """Whether every party has been told."""
        return self.refund.final

    @property
    def cash_fen(self) -> int:
        """What the patient gets back in cash, in fen."""
        return self.refund.returned.cash_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYetKnown:
    """The outcome is open: it may be paid or not. Do not charge in another way; ``wait``, or ``reverse``.

    The attempt stays in the journal, under ``idempotency_key``, until it has an answer. ``operation``: what is open.
    ``settlement``: what the service said so far, if anything. ``reason``: a stable word for what was seen last.
    ``refusal``: a refusal that was heard but is not certain yet, because an earlier send may still be on its way.
    ``retry_after_s``: how long the service asked to be left alone, if it did. A reversal or refund that is open is
    queued: a forwarder sends it until it is answered.
    """

    idempotency_key: str
    operation: Operation = "settlement"
    settlement: Settlement | None = None
    reason: str
    refusal: ErrorDetail | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The service would not take the request, and nothing was changed. A new attempt is a new call with a new key."""

    idempotency_key: str
    detail: ErrorDetail

    @property
    def code(self) -> str:
        """The stable error code; ``NEVER_SENT`` is the client's own (nothing left the till)."""
        return self.detail.code

    @property
    def message(self) -> str:
        """What to do about it."""
        return self.detail.message

    @property
    def quote(self) -> Quote | None:
        """The new quote, where the bank's part would have exceeded what was agreed to (``AGREEMENT_EXCEEDED``)."""
        return self.detail.quote


Result: TypeAlias = Settled | Declined | Reversed | NotYetKnown | Refused
"""What ``settle``, ``status`` and ``wait`` return."""
ReversalResult: TypeAlias = Reversed | NotYetKnown | Refused
"""What ``reverse`` returns."""
RefundResult: TypeAlias = Refunded | NotYetKnown | Refused
"""What ``refund`` and ``wait_refund`` return."""
AnyResult: TypeAlias = Result | Refunded
"""What ``resume``, ``recover`` and a forwarder give: the end of any attempt."""


def is_certain(result: AnyResult) -> bool:
    """Whether nothing about this result can change by waiting for it."""
    return not isinstance(result, NotYetKnown) and not (isinstance(result, Reversed | Refunded) and not result.final)
