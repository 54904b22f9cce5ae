"""All banks behind one port: each message goes to the link of its bank; one dead bank never slows the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from settlement.banks.codes import Verb
from settlement.banks.directory import ZONE_KEY_BYTES, Directory, DirectoryError
from settlement.banks.link import BankLink, LinkState
from settlement.banks.port import BankAnswer, BankOrder, BankOutcome
from settlement.banks.tuning import LinkTuning
from settlement.banks.unmatched import LateCallback
from settlement.clock import Clock
from settlement.ids import IdSource


class BankLinks:
    """The ``BankPort`` over real links. ``zone_keys``: 16-byte zone master keys by the directory's ``zone_key`` names.

    Raises ``DirectoryError`` when a bank's key is missing or has the wrong size.
    """

    def __init__(
        self,
        directory: Directory,
        zone_keys: Mapping[str, bytes],
        clock: Clock,
        ids: IdSource,
        *,
        tuning: LinkTuning | None = None,
        on_late: LateCallback | None = None,
    ) -> None:
        for bank in directory:
            if len(zone_keys.get(bank.zone_key, b"")) != ZONE_KEY_BYTES:
                raise DirectoryError(f"bank.{bank.code}: no zone key of {ZONE_KEY_BYTES} bytes named {bank.zone_key}")
        self.directory = directory
        self._links = {
            bank.code: BankLink(
                bank,
                zone_key=zone_keys[bank.zone_key],
                acquirer=directory.acquirer,
                clock=clock,
                ids=ids,
                tuning=tuning,
                on_late=on_late,
            )
            for bank in directory
        }

    async def start(self, wait_s: float = 3.0) -> None:
        """Bring the links up and wait for them, so long at most. A bank that is away does not stop the start."""
        for link in self._links.values():
            link.start()
        await asyncio.gather(*(link.wait_ready(wait_s) for link in self._links.values()))

    async def stop(self, drain_s: float = 5.0) -> None:
        """Take no more messages, let those under way end (so long at most), sign off everywhere."""
        await asyncio.gather(*(link.stop(drain_s) for link in self._links.values()))

    def states(self) -> Mapping[str, LinkState]:
        """How each link is, by bank; for readiness and the console."""
        return {code: link.state() for code, link in self._links.items()}

    async def debit(self, order: BankOrder, send_before: float) -> BankAnswer:
        """See ``BankPort.debit``."""
        return await self._exchange(Verb.DEBIT, order, send_before)

    async def inquire(self, order: BankOrder, send_before: float) -> BankAnswer:
        """See ``BankPort.inquire``. NOT_SENT with ``not_offered`` where the bank has no inquiry."""
        link = self._links.get(order.identity.bank)
        if link is not None and not link.bank.offers_inquiry:
            return BankAnswer(outcome=BankOutcome.NOT_SENT, detail="not_offered")
        return await self._exchange(Verb.INQUIRE, order, send_before)

    async def reverse(self, order: BankOrder, send_before: float) -> BankAnswer:
        """See ``BankPort.reverse``."""
        return await self._exchange(Verb.REVERSE, order, send_before)

    async def void(self, order: BankOrder, send_before: float) -> BankAnswer:
        """See ``BankPort.void``."""
        return await self._exchange(Verb.VOID, order, send_before)

    async def refund(self, order: BankOrder, send_before: float) -> BankAnswer:
        """See ``BankPort.refund``."""
        return await self._exchange(Verb.REFUND, order, send_before)

    async def _exchange(self, verb: Verb, order: BankOrder, send_before: float) -> BankAnswer:
        link = self._links.get(order.identity.bank)
        if link is None:
            return BankAnswer(outcome=BankOutcome.NOT_SENT, detail="no_such_bank")
        return await link.exchange(verb, order, send_before)
