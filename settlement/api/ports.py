"""What the HTTP layer needs of the rest of the service: the engine's calls and the terminals' registry."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Protocol

from settlement.engine.waits import ALWAYS, Waits
from settlement.terminals import TerminalIdentity, VerifiedRequest
from terminal_sdk import wire


class Engine(Protocol):
    """The settlement engine. Every call raises ``ServiceError`` for a refusal."""

    async def quote(self, who: TerminalIdentity, request: wire.QuoteRequest) -> wire.Quote:
        """Who would pay what."""
        ...

    async def settle(
        self, who: TerminalIdentity, request: wire.SettlementRequest, waits: Waits = ALWAYS
    ) -> wire.Settlement:
        """Settle one bill, or give the first answer again under a known key."""
        ...

    async def status(self, who: TerminalIdentity, settlement_id: uuid.UUID) -> wire.Settlement:
        """What became of a settlement."""
        ...

    async def status_by_key(self, who: TerminalIdentity, key: str) -> wire.Settlement:
        """What became of the settlement sent under an idempotency key."""
        ...

    async def reverse(
        self, who: TerminalIdentity, settlement_id: uuid.UUID, request: wire.ReversalRequest, waits: Waits = ALWAYS
    ) -> wire.Reversal:
        """Take a settlement back whole."""
        ...

    async def reverse_by_key(
        self, who: TerminalIdentity, request: wire.ReversalByKeyRequest, waits: Waits = ALWAYS
    ) -> wire.Reversal:
        """Take back the settlement of an idempotency key, also one that never arrived."""
        ...

    async def reversal_status(self, who: TerminalIdentity, reversal_id: uuid.UUID) -> wire.Reversal:
        """What became of a reversal."""
        ...

    async def refund(
        self, who: TerminalIdentity, settlement_id: uuid.UUID, request: wire.RefundRequest, waits: Waits = ALWAYS
    ) -> wire.Refund:
        """Give lines of a settled bill back."""
        ...

    async def refund_status(self, who: TerminalIdentity, refund_id: uuid.UUID) -> wire.Refund:
        """What became of a refund."""
        ...

    async def receipt(self, who: TerminalIdentity, receipt_id: uuid.UUID) -> wire.Receipt:
        """The receipt of a settlement, reversal or refund."""
        ...

    async def admit(self, who: TerminalIdentity, request: wire.AdmissionRequest) -> wire.Stay:
        """Open an inpatient stay."""
        ...

    async def stay(self, who: TerminalIdentity, stay_id: uuid.UUID) -> wire.Stay:
        """A stay as it stands."""
        ...

    async def upload_fees(self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.FeesRequest) -> wire.Stay:
        """Add a batch of fees to a stay."""
        ...

    async def withdraw_fees(
        self, who: TerminalIdentity, stay_id: uuid.UUID, batch_no: int, request: wire.WithdrawalRequest
    ) -> wire.Stay:
        """Take a batch of fees back."""
        ...

    async def trial(self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.TrialRequest) -> wire.Quote:
        """Who would pay what of a stay's open fees."""
        ...

    async def settle_stay(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.StaySettlementRequest, waits: Waits = ALWAYS
    ) -> wire.Settlement:
        """Settle a stay's open fees, or give the first answer again under a known key."""
        ...

    async def deposit(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.DepositRequest, waits: Waits = ALWAYS
    ) -> wire.Settlement:
        """Take a deposit for a stay, or give the first answer again under a known key."""
        ...

    async def cancel_stay(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: wire.CancellationRequest
    ) -> wire.Stay:
        """Take an admission back."""
        ...

    def ready(self) -> list[str]:
        """Why no bill can be settled now; empty when all is well."""
        ...


class Terminals(Protocol):
    """The terminals' registry (``settlement.terminals.TerminalRegistry``). Raises ``ServiceError``."""

    async def enrol(self, request: wire.EnrolRequest) -> wire.Enrolment:
        """A certificate for a one-time code."""
        ...

    def challenge(self, request: wire.ChallengeRequest) -> wire.Challenge:
        """What to sign in order to sign in."""
        ...

    async def sign_in(self, request: wire.SignInRequest) -> wire.Session:
        """A session with its working keys."""
        ...

    def verify(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes) -> VerifiedRequest:
        """The MAC of a request."""
        ...

    async def admit(self, request: VerifiedRequest) -> TerminalIdentity:
        """Time, session, suspension and nonce of a verified request."""
        ...

    async def keep_tidy(self, report: Callable[[Exception], None]) -> None:
        """Upkeep until cancelled."""
        ...
