"""Starting a settlement at the till: sign in, let the card agree, write the journal; only then may anything be sent."""

from __future__ import annotations

import asyncio

import msgspec

from terminal_sdk import wire
from terminal_sdk.client import bill as bills
from terminal_sdk.client.bill import PresentCard
from terminal_sdk.client.conclusion import Conclusions
from terminal_sdk.client.delivery import SETTLEMENTS_PATH, Attempt, Delivery
from terminal_sdk.client.endings import Endings
from terminal_sdk.client.retry import Patience
from terminal_sdk.client.session import Sessions, WorkingSession
from terminal_sdk.client.transport import NoAnswer
from terminal_sdk.errors import KeyReused, ServiceUnreachable
from terminal_sdk.journal import Journal, JournalEntry
from terminal_sdk.results import Result


class Settling:
    """Turns a draft, which has no proof and no PIN block yet, into an attempt, and brings it to its end."""

    def __init__(
        self,
        sessions: Sessions,
        delivery: Delivery,
        conclusions: Conclusions,
        endings: Endings,
        journal: Journal,
        *,
        terminal_id: str,
    ) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._conclusions = conclusions
        self._endings = endings
        self._journal = journal
        self._terminal_id = terminal_id

    async def settle(
        self, draft: wire.SettlementRequest, agreed: str, card: PresentCard, pin: str | None, patience: Patience
    ) -> Result:
        """Start a new attempt, or go on with the one that the journal has under this key."""
        known = await asyncio.to_thread(self._journal.find, draft.idempotency_key)
        if known is not None:
            return await self._go_on(known, draft, card, pin, patience)
        attempt = await self._prepare(draft, agreed, card, pin, patience)
        return await self._conclusions.bring_to_end(attempt, patience)

    async def _prepare(
        self, draft: wire.SettlementRequest, agreed: str, card: PresentCard, pin: str | None, patience: Patience
    ) -> Attempt:
        """Sign in, let the card agree, write the journal. Nothing of the bill has been sent when this returns."""
        session = await self._session(patience)
        proof = await asyncio.to_thread(
            card.prove,
            terminal_id=self._terminal_id,
            visit_no=draft.visit_no,
            total_fen=draft.total_fen,
            agreed=agreed,
            now=self._sessions.service_time(session),
        )
        block = await bills.pin_block(card, pin, session.pin_key)
        request = bills.checked(msgspec.structs.replace(draft, proof=proof, pin_block=block))
        # By the service's clock, so that its deadline holds whatever becomes of the till's.
        now = self._sessions.service_time(session)
        await asyncio.to_thread(
            self._journal.prepare,
            request.idempotency_key,
            "settlement",
            SETTLEMENTS_PATH,
            wire.encode(request),
            session_id=session.session_id,
            at=now,
            lines=[(request.visit_no, line.line_no) for line in request.lines],
        )
        return Attempt(
            key=request.idempotency_key,
            operation="settlement",
            path=SETTLEMENTS_PATH,
            session_id=session.session_id,
            prepared_at=now,
            request=request,
            new_pin_block=bills.pin_block_maker(card, pin),
        )

    async def _go_on(
        self,
        known: JournalEntry,
        draft: wire.SettlementRequest,
        card: PresentCard,
        pin: str | None,
        patience: Patience,
    ) -> Result:
        """The till repeats a call under a key of its own: the same attempt goes on, with the body that was written."""
        attempt = Attempt.of(known)
        if not bills.same_bill(attempt.request, draft):
            raise KeyReused(known.idempotency_key)
        if known.state == "answered":
            return self._endings.stored_settlement(known)
        attempt.new_pin_block = bills.pin_block_maker(card, pin)
        return await self._conclusions.bring_to_end(attempt, patience)

    async def _session(self, patience: Patience) -> WorkingSession:
        tries = self._delivery.tries(patience)
        while True:
            try:
                return await self._sessions.current()
            except NoAnswer as failure:
                if not await tries.again(failure):
                    raise ServiceUnreachable(failure.reason) from failure
