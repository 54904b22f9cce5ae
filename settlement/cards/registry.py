"""The registry of persons and cards over the database: look-up, registration, and each change of a card's state."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from settlement.cards import numbers
from settlement.cards.checks import china_date
from settlement.cards.errors import (
    CardAlreadyRegistered,
    CreditDiffers,
    NumberInvalid,
    PersonNameDiffers,
    PersonUnknown,
)
from settlement.cards.model import Account, CardContext, CardDescription, CardSummary, Coverage, Function
from settlement.cards.records import NewCard, card_context, check_certificate, description, summary
from settlement.cards.vault import Vault
from settlement.clock import Clock
from settlement.db.queries import load_queries
from settlement.errors import ServiceError
from settlement.security import KeyRing, Personal
from terminal_sdk.crypto import Certificate
from terminal_sdk.wire import MAX_FEN

if TYPE_CHECKING:
    from asyncpg import Pool, Record

SQL = load_queries("settlement.cards", "sql/cards.sql")
LEGACY_KEY_NAME = "legacy-card"
_LEGACY_KEY_BYTES = 16
LIST_MAX = 1_000


def legacy_master_key(keys: KeyRing) -> bytes:
    """The 16 bytes under which the check values of legacy cards are made."""
    return keys.derive(LEGACY_KEY_NAME)[:_LEGACY_KEY_BYTES]


class CardRegistry:
    """Persons and cards. Every method that names a card raises ``ServiceError`` CARD_UNKNOWN for one it does not have.

    ``card_roots``: the authorities whose cards are accepted, judged when a card is registered. Changes of state are one
    SQL function each, under the person's lock; a refused one raises ``ServiceError`` with its code and changes nothing.
    """

    def __init__(
        self,
        pool: Pool[Record],
        personal: Personal,
        keys: KeyRing,
        clock: Clock,
        card_roots: Sequence[Certificate],
    ) -> None:
        self._pool = pool
        self._vault = Vault(personal)
        self._clock = clock
        self._roots = tuple(card_roots)
        self.legacy_master_key = legacy_master_key(keys)

    def today(self) -> dt.date:
        """The calendar date in China."""
        return china_date(self._clock.now())

    # looking up

    async def load(self, card_number: str, service_date: dt.date | None = None) -> CardContext:
        """The card as a settlement of a service date sees it; one round trip, a few look-ups by key."""
        row = await self._pool.fetchrow(SQL["load_card"], self._card_index(card_number), service_date)
        if row is None:
            raise ServiceError("CARD_UNKNOWN")
        return card_context(row, self._vault)

    async def patient_name(self, person_id: int) -> str:
        """A person's name, in clear. Raises ``PersonUnknown``."""
        row = await self._pool.fetchrow(SQL["person"], person_id)
        if row is None:
            raise PersonUnknown(person_id)
        return self._vault.name.open(row["name_sealed"], person_id)

    async def card_number(self, person_id: int, card_id: int) -> str:
        """A card's number, in clear."""
        sealed = await self._pool.fetchval(SQL["card_number"], person_id, card_id)
        if sealed is None:
            raise ServiceError("CARD_UNKNOWN")
        return self._vault.card_number.open(sealed, person_id, card_id)

    async def pan(self, context: CardContext) -> str:
        """The account number of the card's bank application, in clear. Raises ``ServiceError`` NO_BANK_ACCOUNT."""
        if context.pan_sealed is None:
            raise ServiceError("NO_BANK_ACCOUNT")
        return self._vault.pan.open(context.pan_sealed, context.person_id, context.card_id)

    # registering

    async def register_person(self, name: str, id_number: str) -> int:
        """Enter a person and open the insurance accounts; the same ID number gives the same person.

        Raises ``NumberInvalid``, and ``PersonNameDiffers`` if the ID number is registered under another name.
        """
        name, id_number = numbers.name(name), numbers.id_number(id_number)
        new_id: int = await self._pool.fetchval(SQL["next_person_id"])
        person_id: int = await self._pool.fetchval(
            SQL["register_person"],
            self._vault.index_id_number(id_number),
            new_id,
            self._vault.name.seal(name, new_id),
            self._vault.id_number.seal(id_number, new_id),
            self._clock.now(),
        )
        if person_id != new_id and await self.patient_name(person_id) != name:
            raise PersonNameDiffers(person_id)
        return person_id

    async def register_third_generation(
        self,
        person_id: int,
        *,
        card_number: str,
        certificate: Certificate,
        issued_on: dt.date,
        expires_on: dt.date,
        bank_code: str | None = None,
        pan: str | None = None,
        intermediates: Sequence[Certificate] = (),
    ) -> int:
        """Enter a third-generation card, which does nothing until it is activated; returns its card id.

        The certificate is judged here, once and now: its chain up to ``card_roots``, its times, and that it was issued
        to this card number. ``bank_code`` and ``pan`` go together. Raises ``NumberInvalid``, ``CardNotRegistrable``,
        ``CardAlreadyRegistered``, ``PersonUnknown``.
        """
        card = NewCard(
            person_id=person_id,
            kind="third_generation",
            card_number=numbers.card_number(card_number),
            issued_on=issued_on,
            expires_on=expires_on,
            certificate=certificate,
            bank_code=bank_code,
            pan=None if pan is None else numbers.pan(pan),
        )
        now = self._clock.now()
        check_certificate(certificate, card.card_number, intermediates=intermediates, roots=self._roots, now=now)
        return await self._register(card)

    async def register_legacy(
        self, person_id: int, *, card_number: str, issued_on: dt.date, expires_on: dt.date
    ) -> int:
        """Enter a legacy card: insurance only, no key, no bank; returns its card id.

        Raises ``NumberInvalid``, ``CardNotRegistrable``, ``CardAlreadyRegistered``, ``PersonUnknown``.
        """
        return await self._register(
            NewCard(
                person_id=person_id,
                kind="legacy",
                card_number=numbers.card_number(card_number),
                issued_on=issued_on,
                expires_on=expires_on,
            )
        )

    # changing

    async def activate_social(self, card_number: str) -> None:
        """Activate the social function; the person's card in use until now is void from the same moment on.

        Active already: nothing changes. Raises ``ServiceError`` CARD_VOID, CARD_LOST, CARD_EXPIRED, CARD_FROZEN,
        CARD_CERTIFICATE_EXPIRED, CARD_CERTIFICATE_REVOKED.
        """
        await self._activate(card_number, "social")

    async def activate_financial(self, card_number: str) -> None:
        """Activate the financial function, and with it the social function unless that is frozen (it stays frozen).

        Raises as ``activate_social`` (but not CARD_FROZEN), and NO_BANK_ACCOUNT, FINANCIAL_FROZEN.
        """
        await self._activate(card_number, "financial")

    async def freeze(self, card_number: str, function: Function) -> None:
        """Freeze an active function; frozen already, nothing changes.

        Raises ``ServiceError`` CARD_VOID, CARD_LOST, CARD_NOT_ACTIVATED, FINANCIAL_NOT_ACTIVE, NO_BANK_ACCOUNT.
        """
        await self._change("set_card_frozen", card_number, function, True)

    async def unfreeze(self, card_number: str, function: Function) -> None:
        """Make a frozen function active again. Raises as ``freeze``."""
        await self._change("set_card_frozen", card_number, function, False)

    async def report_lost(self, card_number: str) -> None:
        """Report a card lost: it is refused from now on. Raises CARD_VOID: a void card is refused already."""
        await self._change("end_card", card_number, "lost")

    async def void(self, card_number: str) -> None:
        """Void a card for good."""
        await self._change("end_card", card_number, "void")

    async def revoke_certificate(self, card_number: str) -> None:
        """Revoke the card's certificate for good. Raises NO_CERTIFICATE on a legacy card."""
        await self._change("revoke_card_certificate", card_number)

    async def credit(
        self,
        holder: str | int,
        account: Account,
        amount_fen: int,
        credit_id: uuid.UUID,
        reason: str,
        *,
        posting_date: dt.date | None = None,
    ) -> bool:
        """Put money of the personal-account fund on one insurance account of a person (id) or a card's person (number).

        ``posting_date``: the business date, by default the date in China. False: this ``credit_id`` was booked before.
        Raises ``CreditDiffers``, ``PersonUnknown``, ``ValueError`` for an amount out of range.
        """
        if not 0 < amount_fen <= MAX_FEN:
            raise ValueError(f"a credit is 1 to {MAX_FEN} fen")
        person_id = await self._person(holder)
        now = self._clock.now()
        booking = (credit_id, account, amount_fen, reason, posting_date or china_date(now), now)
        try:
            outcome = await self._pool.fetchval(SQL["credit_person"], person_id, *booking)
        except asyncpg.ForeignKeyViolationError as error:
            raise PersonUnknown(person_id) from error
        if outcome == "differs":
            raise CreditDiffers
        return bool(outcome == "booked")

    async def cover(self, holder: str | int, coverage: Coverage) -> bool:
        """Note by which plan a person (id) or a card's person (number) is covered from a day on.

        What was noted for other days stays; for the same day this one counts from now on. False: it was so before.
        Raises ``NumberInvalid`` where the ID number names no day of birth, without which no plan judges;
        ``PersonUnknown``.
        """
        person_id = await self._person(holder)
        await self.born_on(person_id)
        facts = (coverage.plan, coverage.status, coverage.retired_on, coverage.at_work_by)
        noted = await self._pool.fetchval(
            SQL["note_coverage"], person_id, coverage.valid_from, *facts, self._clock.now()
        )
        return bool(noted)

    async def coverages(self, holder: str | int) -> tuple[Coverage, ...]:
        """All that is noted of a person's coverage, as it stands, oldest first; each holds until the next."""
        rows = await self._pool.fetch(SQL["coverages"], await self._person(holder))
        return tuple(Coverage(**dict(row)) for row in rows)

    async def born_on(self, person_id: int) -> dt.date:
        """A person's day of birth. Raises ``PersonUnknown``, ``NumberInvalid``."""
        row = await self._pool.fetchrow(SQL["person"], person_id)
        if row is None:
            raise PersonUnknown(person_id)
        return numbers.born_on(self._vault.id_number.open(row["id_number_sealed"], person_id))

    # showing

    async def describe(self, card_number: str) -> CardDescription:
        """A card with its person, accounts and history, for an operator: name and numbers masked."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            found = await connection.fetchrow(SQL["find_card"], self._card_index(card_number))
            if found is None:
                raise ServiceError("CARD_UNKNOWN")
            key = (found["person_id"], found["card_id"])
            row = await connection.fetchrow(SQL["describe_card"], *key)
            events = await connection.fetch(SQL["card_events"], *key)
        assert row is not None  # noqa: S101 - card_index and card are written together
        return description(row, events, self._vault)

    async def list(self, *, after: tuple[int, int] = (0, 0), limit: int = 100) -> tuple[CardSummary, ...]:
        """One page of cards, by person and card id, from after ``(person_id, card_id)`` on; at most ``LIST_MAX``."""
        rows = await self._pool.fetch(SQL["list_cards"], *after, max(0, min(limit, LIST_MAX)))
        return tuple(summary(row, self._vault) for row in rows)

    # inside

    async def _activate(self, card_number: str, function: Function) -> None:
        await self._change("activate_card", card_number, function, self.today())

    async def _change(self, query: str, card_number: str, *arguments: Any) -> None:
        key = await self._find(card_number)
        refusal = await self._pool.fetchval(SQL[query], *key, *arguments, self._clock.now())
        if refusal is not None:
            raise ServiceError(refusal)

    async def _person(self, holder: str | int) -> int:
        return holder if isinstance(holder, int) else (await self._find(holder))[0]

    async def _find(self, card_number: str) -> tuple[int, int]:
        row = await self._pool.fetchrow(SQL["find_card"], self._card_index(card_number))
        if row is None:
            raise ServiceError("CARD_UNKNOWN")
        return row["person_id"], row["card_id"]

    def _card_index(self, card_number: str) -> bytes:
        try:
            return self._vault.index_card_number(numbers.card_number(card_number))
        except NumberInvalid as error:
            raise ServiceError("CARD_UNKNOWN") from error

    async def _register(self, card: NewCard) -> int:
        card_id: int = await self._pool.fetchval(SQL["next_card_id"])
        row = card.row(self._vault, card_id)
        try:
            entered = await self._pool.fetchval(SQL["register_card"], *row, self._clock.now())
        except asyncpg.ForeignKeyViolationError as error:
            raise PersonUnknown(card.person_id) from error
        if not entered:
            raise CardAlreadyRegistered
        return card_id
