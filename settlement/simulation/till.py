"""What a till does with a bill: settle, ask again, give up, take back early or late, refund; drawn from the seed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

from settlement.clock import epoch_ms
from settlement.simulation.desk import Answer, Order, Refused
from terminal_sdk.signing import card_signed_message, settlement_challenge
from terminal_sdk.wire import (
    CardProof,
    Quote,
    QuoteRequest,
    Refund,
    RefundLine,
    RefundRequest,
    Reversal,
    ReversalByKeyRequest,
    ReversalRequest,
    Settlement,
    SettlementRequest,
)

if TYPE_CHECKING:
    from settlement.simulation.world import World

PLANS: dict[str, int] = {
    "plain": 9,
    "double_click": 2,
    "second_key": 2,
    "rush": 3,
    "reverse_settled": 4,
    "reverse_pending": 4,
    "reverse_first": 2,
    "reverse_instead": 1,
    "refund": 4,
    "power_loss": 2,
}
"""What a till may have in mind, by weight. A new plan needs a method ``_<plan>`` of ``Till`` and a line here."""

_TRIES = 10
_PASSING = frozenset({"NOT_READY", "OVERLOADED", "PERSON_BUSY", "INTERNAL", "UNREACHABLE", "OUTCOME_UNKNOWN"})
"""After these the same request is sent again."""
_TELLS_TO_WAIT = frozenset({"NOT_READY", "OVERLOADED"})
_SIGN_AGAIN = frozenset({"CARD_COUNTER_REPLAYED", "CARD_PROOF_STALE"})
_GIVE_UP_SHARE = 0.2
_ASK_SHARE = 0.3
_IMPATIENT_SHARE = 0.15
_WALK_AWAY_SHARE = 0.5


class Till:
    """Plays one order. ``random``: the chance of this order alone · ``patient``: never gives up by itself."""

    def __init__(self, world: World, order: Order, random: Random, *, patient: bool = False) -> None:
        self._patient = patient
        self._world = world
        self._order = order
        self._random = random
        self._agreed: tuple[str, str | None, int | None] = ("", None, None)
        self._keys_made = 0

    async def play(self) -> None:
        """Do what the plan says."""
        order = self._order
        if self._random.random() < 0.3:  # noqa: PLR2004 - three in ten ask for a quote first
            await self._quote()
        if not self._agreed[0]:
            self.agree(None, order.total_fen)
        plan: Callable[[], Awaitable[Any]] = getattr(self, f"_{order.plan}")
        await plan()

    # plans

    async def _plain(self) -> None:
        await self.settle()

    async def _double_click(self) -> None:
        await asyncio.gather(self.send(), self.settle())

    async def _second_key(self) -> None:
        """The same lines under another key, at about the same time: at most one of the two settles."""
        twin = self._world.twin_of(self._order)
        other = Till(self._world, twin, self._random)
        other.agree(None, twin.total_fen)
        await asyncio.gather(self.settle(), other.settle())

    async def _rush(self) -> None:
        """Another bill of the same person at the same moment, at another till."""
        other = self._world.beside(self._order)
        await asyncio.gather(self.settle(), Till(self._world, other, self._random).play())

    async def _reverse_settled(self) -> None:
        view = await self.settle()
        if view is not None and view.state == "settled":
            await asyncio.sleep(self._random.choice((0.0, 1.0, self._random.uniform(0.0, 30.0))))
            await self.reverse(view)
            if self._random.random() < 0.3:  # noqa: PLR2004 - and some of them once more, under another key
                await self.reverse(view)

    async def _reverse_pending(self) -> None:
        await asyncio.gather(self.send(), self.reverse_after(self._random.choice((0.0, 0.01, 0.05, 1.0, 6.0))))

    async def _reverse_first(self) -> None:
        """The reversal overtakes its original."""
        await self.reverse_by_key()
        await self.send()

    async def _reverse_instead(self) -> None:
        await self.reverse_by_key()

    async def _refund(self) -> None:
        view = await self.settle()
        for _ in range(self._random.choice((1, 1, 2))):
            if view is None or view.state != "settled":
                return
            await asyncio.sleep(self._random.uniform(0.0, 15.0))
            await self.give_back(view)
        if view is not None and self._random.random() < 0.3:  # noqa: PLR2004 - and then the whole of it
            await self.reverse(view)

    async def _power_loss(self) -> None:
        await self.send()

    # the pieces they are made of

    def agree(self, quote: Quote | None, ceiling_fen: int) -> None:
        """What the patient agrees to: a quote, or at most so much from the bank (fen)."""
        if quote is None:
            self._agreed = (f"ceiling:{ceiling_fen}", None, ceiling_fen)
        else:
            self._agreed = (f"quote:{quote.digest}", quote.token, None)
        self._order.agreements += 1

    async def _quote(self) -> None:
        order = self._order
        request = QuoteRequest(**self._bill())
        answer = await self._world.desk.ask(order, "quote", order.key, lambda engine: engine.quote(order.till, request))
        if isinstance(answer, Quote):
            self.agree(answer, 0)

    def _bill(self) -> dict[str, Any]:
        order = self._order
        return {
            "visit_no": order.visit_no,
            "visit_type": "outpatient",
            "service_date": self._world.service_date,
            "card": order.card.ref,
            "lines": order.lines,
            "total_fen": order.total_fen,
            "remainder": order.remainder,
        }

    def _request(self, wait_ms: int | None) -> SettlementRequest:
        """The bill with a new proof: each time the card is asked its counter rises."""
        order, (agreed, token, ceiling_fen) = self._order, self._agreed
        counter = self._world.next_counter(order.card)
        signed_at_ms = epoch_ms(self._world.till_clock.now())
        challenge = settlement_challenge(
            terminal_id=order.till.terminal_id,
            visit_no=order.visit_no,
            total_fen=order.total_fen,
            agreed=agreed,
            signed_at_ms=signed_at_ms,
        )
        signature = order.card.key.sign(card_signed_message(order.card.number, counter, challenge))
        return SettlementRequest(
            **self._bill(),
            idempotency_key=order.key,
            proof=CardProof(counter=counter, signed_at_ms=signed_at_ms, signature=signature.hex()),
            quote=token,
            bank_ceiling_fen=ceiling_fen,
            on_bank_decline="cash" if order.on_bank_decline == "cash" else "release",
            deadline_ms=round(order.deadline_s * 1_000),
            wait_ms=self._random.choice((0, 2_000, 10_000)) if wait_ms is None else wait_ms,
        )

    async def send(self, wait_ms: int | None = None) -> Answer:
        """Send the bill once. ``wait_ms``: how long the service may hold its answer back (None: by chance)."""
        order = self._order
        request = self._request(wait_ms)
        if not order.sent:
            order.sent, order.first_sent_at = True, self._world.loop.time()
        return await self._world.desk.ask(order, "settle", order.key, lambda engine: engine.settle(order.till, request))

    async def settle(self) -> Settlement | None:
        """Send until there is a final word, or the till gives up; the final word, if it came."""
        for attempt in range(_TRIES):
            answer = await self.send()
            if isinstance(answer, Settlement):
                return answer if answer.final else await self.poll(answer)
            if isinstance(answer, Refused) and (self._walks_away(answer) or not await self._cope(answer)):
                return None
            if answer is None and attempt and not self._patient:
                draw = self._random.random()
                if draw < _GIVE_UP_SHARE:
                    await self.reverse_by_key()
                    return None
                if draw < _GIVE_UP_SHARE + _ASK_SHARE:
                    known = await self.status_by_key()
                    if isinstance(known, Settlement):
                        return known if known.final else await self.poll(known)
            await asyncio.sleep(self._random.uniform(0.2, 3.0))
        return None

    def _walks_away(self, refused: Refused) -> bool:
        """Told that nothing was begun, some patients pay in cash: nothing must ever come of the bill."""
        told_to_wait = not self._patient and refused.code in _TELLS_TO_WAIT
        return told_to_wait and self._random.random() < _WALK_AWAY_SHARE

    async def _cope(self, refused: Refused) -> bool:
        """Make ready for another try; False: there is none."""
        if refused.code in _PASSING or refused.code in _SIGN_AGAIN:
            return True
        if refused.code == "AGREEMENT_EXCEEDED" and refused.quote is not None:
            self.agree(refused.quote, 0)
            return True
        if refused.code == "QUOTE_EXPIRED":
            await self._quote()
            return True
        return False

    async def poll(self, view: Settlement) -> Settlement | None:
        """Ask until it is not pending; some tills lose patience and take the bill back."""
        order = self._order
        settlement_id = uuid.UUID(view.settlement_id)
        impatient = not self._patient and self._random.random() < _IMPATIENT_SHARE
        for _ in range(round(order.deadline_s) + 20):
            await asyncio.sleep(self._random.uniform(1.0, 3.0))
            if impatient and self._random.random() < _IMPATIENT_SHARE:
                await self.reverse(view)
                return None
            answer = await self._world.desk.ask(
                order, "status", order.key, lambda engine: engine.status(order.till, settlement_id)
            )
            if isinstance(answer, Settlement) and answer.state != "pending":
                return answer
        return None

    async def status_by_key(self) -> Answer:
        """Ask what became of it."""
        order = self._order
        return await self._world.desk.ask(
            order, "status_by_key", order.key, lambda engine: engine.status_by_key(order.till, order.key)
        )

    def _new_key(self, kind: str) -> str:
        self._keys_made += 1
        return f"{self._order.key}-{kind}{self._keys_made}"

    async def _until_answered(self, operation: str, key: str, do: Any) -> Answer:
        answer: Answer = None
        for _ in range(_TRIES):
            answer = await self._world.desk.ask(self._order, operation, key, do)
            if answer is not None and not (isinstance(answer, Refused) and answer.code in _PASSING):
                return answer
            await asyncio.sleep(self._random.uniform(0.2, 3.0))
        return answer

    def _note_reversal(self) -> None:
        if self._order.reversal_asked_at is None:
            self._order.reversal_asked_at = self._world.loop.time()

    async def reverse(self, view: Settlement) -> None:
        """Take a settlement back, by its id."""
        order = self._order
        key = self._new_key("R")
        self._note_reversal()
        request = ReversalRequest(idempotency_key=key)
        answer = await self._until_answered(
            "reverse", key, lambda engine: engine.reverse(order.till, uuid.UUID(view.settlement_id), request)
        )
        self._keep(answer)

    async def reverse_after(self, seconds: float) -> None:
        """Take it back by its key, a little later."""
        await asyncio.sleep(seconds)
        await self.reverse_by_key()

    async def reverse_by_key(self) -> None:
        """Take back whatever was sent under the order's key."""
        order = self._order
        key = self._new_key("K")
        self._note_reversal()
        request = ReversalByKeyRequest(idempotency_key=key, original_idempotency_key=order.key)
        answer = await self._until_answered(
            "reverse_by_key", key, lambda engine: engine.reverse_by_key(order.till, request)
        )
        self._keep(answer)

    async def give_back(self, view: Settlement) -> None:
        """Refund a line, whole or in part."""
        order = self._order
        key = self._new_key("F")
        line = self._random.choice(order.lines)
        part = self._random.choice((None, max(1, line.amount_fen // 3)))
        asked = RefundLine(line_no=line.line_no, amount_fen=part)
        order.refunds_asked[key] = asked
        request = RefundRequest(idempotency_key=key, lines=[asked])
        answer = await self._until_answered(
            "refund", key, lambda engine: engine.refund(order.till, uuid.UUID(view.settlement_id), request)
        )
        if isinstance(answer, Refund):
            order.refunds[answer.refund_id] = answer

    def _keep(self, answer: Answer) -> None:
        if isinstance(answer, Reversal):
            self._order.reversals[answer.reversal_id] = answer
