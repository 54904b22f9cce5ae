"""Following what is not final: status, wait, and the recovery of open attempts after a start."""

from __future__ import annotations

import asyncio
from collections.abc import Container

from terminal_sdk import wire
from terminal_sdk.client.caller import Caller
from terminal_sdk.client.conclusion import Conclusions
from terminal_sdk.client.delivery import REFUNDS_PATH, REVERSALS_PATH, Delivery
from terminal_sdk.client.endings import Endings
from terminal_sdk.client.retry import Patience, RetryPolicy
from terminal_sdk.errors import AnswerInvalid, RequestRefused, ServiceUnreachable, SignInRefused
from terminal_sdk.journal import Journal
from terminal_sdk.results import AnyResult, NotYetKnown, Refunded, Result, Reversed, is_certain

_UNKNOWN = "SETTLEMENT_UNKNOWN"


class Following:
    """Asks again. Every loop is bounded by the patience it is given."""

    def __init__(
        self,
        caller: Caller,
        delivery: Delivery,
        conclusions: Conclusions,
        endings: Endings,
        journal: Journal,
        policy: RetryPolicy,
    ) -> None:
        self._caller = caller
        self._delivery = delivery
        self._conclusions = conclusions
        self._endings = endings
        self._journal = journal
        self._policy = policy

    async def status_by_id(self, settlement_id: str, patience: Patience) -> Result:
        """The settlement of that name. Raises ``RequestRefused``, ``ServiceUnreachable``, ``AnswerInvalid``."""
        return await self._endings.note(await self._ask(f"/{settlement_id}", patience))

    async def status_by_key(self, key: str, patience: Patience) -> Result:
        """The settlement under that key. Raises as ``status_by_id``, but not for a key that the journal holds."""
        try:
            settlement = await self._ask(f"?idempotency_key={key}", patience)
        except RequestRefused as refusal:
            entry = await asyncio.to_thread(self._journal.find, key)
            if isinstance(refusal, SignInRefused) or refusal.code != _UNKNOWN or entry is None:
                raise
            if entry.state == "answered":
                return self._endings.stored_settlement(entry)
            return NotYetKnown(idempotency_key=key, reason=_UNKNOWN)
        if settlement.idempotency_key != key:
            raise ServiceUnreachable("answer for another key")
        return await self._endings.note(settlement)

    async def wait(self, result: AnyResult, patience: Patience) -> AnyResult:
        """Until nothing about it can change any more, or the patience is over."""
        pause_s = self._policy.backoff_first_s
        while not is_certain(result):
            result = await self._look_again(result, patience)
            if is_certain(result) or not await patience.sleep(pause_s):
                break
            pause_s = min(2 * pause_s, self._policy.backoff_max_s)
        return result

    async def recover(self, patience: Patience, running: Container[str]) -> list[AnyResult]:
        """Resolve every open attempt that is not in progress."""
        results: list[AnyResult] = []
        entries = await asyncio.to_thread(self._journal.open_entries)
        # What is owed goes first, in order; a reversal closes its settlement too, so that a bill is never reported as
        # paid and taken back in one breath.
        for listed in sorted(entries, key=lambda entry: entry.operation == "settlement"):
            key = listed.idempotency_key
            if key in running:
                continue
            entry = await asyncio.to_thread(self._journal.find, key)
            if entry is None or entry.state == "answered":
                continue  # closed by a reversal just now
            if patience.left_s <= 0:
                results.append(NotYetKnown(idempotency_key=key, operation=entry.operation, reason="not asked yet"))
                continue
            results.append(await self._conclusions.resolve(entry, patience))
        return results

    async def _look_again(self, result: AnyResult, patience: Patience) -> AnyResult:
        try:
            if isinstance(result, Reversed) and result.reversal is not None:
                return await self._reversal_again(result.idempotency_key, result.reversal, patience)
            if isinstance(result, Refunded):
                return await self._refund_again(result, patience)
            if isinstance(result, NotYetKnown | Reversed) and result.settlement is not None:
                return await self.status_by_id(result.settlement.settlement_id, patience)
            if isinstance(result, NotYetKnown):
                return await self._attempt_again(result, patience)
        except (ServiceUnreachable, RequestRefused, AnswerInvalid):
            return result  # asking failed; what was known stays known
        return result

    async def _attempt_again(self, result: NotYetKnown, patience: Patience) -> AnyResult:
        entry = await asyncio.to_thread(self._journal.find, result.idempotency_key)
        if entry is None:
            return await self.status_by_key(result.idempotency_key, patience)
        return await self._conclusions.resolve(entry, patience)

    async def _reversal_again(self, key: str, reversal: wire.Reversal, patience: Patience) -> Reversed:
        path = f"{REVERSALS_PATH}/{reversal.reversal_id}"
        answer = await self._caller.ask("GET", path, wire.Reversal, self._delivery.tries(patience))
        return Reversed(idempotency_key=key, reversal=answer)

    async def _refund_again(self, result: Refunded, patience: Patience) -> Refunded:
        path = f"{REFUNDS_PATH}/{result.refund.refund_id}"
        answer = await self._caller.ask("GET", path, wire.Refund, self._delivery.tries(patience))
        return Refunded(idempotency_key=result.idempotency_key, refund=answer)

    async def _ask(self, name: str, patience: Patience) -> wire.Settlement:
        path_qs = f"/v1/settlements{name}"
        return await self._caller.ask("GET", path_qs, wire.Settlement, self._delivery.tries(patience))
