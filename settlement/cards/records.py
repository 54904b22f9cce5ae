"""Between the registry's rows and its types: what is written for a new card, and what an operator is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from settlement.cards import numbers
from settlement.cards.errors import CardNotRegistrable
from settlement.cards.model import CardContext, CardDescription, CardEvent, CardSummary, Covered, Kind
from settlement.cards.vault import Vault
from settlement.security import mask_name, mask_number
from terminal_sdk.crypto import Certificate, CertificateInvalid, verify_chain

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCard:
    """A card to be registered, its numbers in their normal form. ``certificate`` belongs to the third generation."""

    person_id: int
    kind: Kind
    card_number: str = field(repr=False)
    issued_on: dt.date
    expires_on: dt.date
    certificate: Certificate | None = field(default=None, repr=False)
    bank_code: str | None = None
    pan: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse dates, numbers and combinations that no card has."""
        if self.expires_on <= self.issued_on:
            raise CardNotRegistrable("dates", "the card expires before it is issued")
        if (self.bank_code is None) != (self.pan is None):
            raise CardNotRegistrable("bank", "a bank account has both a bank code and an account number")
        for normal, value in (
            (numbers.card_number, self.card_number),
            (numbers.bank_code, self.bank_code),
            (numbers.pan, self.pan),
        ):
            if value is not None and normal(value) != value:
                raise ValueError("the numbers of a NewCard are given in their normal form")

    def row(self, vault: Vault, card_id: int) -> tuple[object, ...]:
        """The arguments of ``register_card`` but the last: blind index, then the columns, sealed for this card id."""
        key = (self.person_id, card_id)
        return (
            vault.index_card_number(self.card_number),
            *key,
            self.kind,
            vault.card_number.seal(self.card_number, *key),
            self.issued_on,
            self.expires_on,
            *_certificate_columns(self.certificate, vault, key),
            self.bank_code,
            None if self.pan is None else vault.pan.seal(self.pan, *key),
        )


def card_context(row: Record, vault: Vault) -> CardContext:
    """What ``load_card`` found. Only who is covered by a plan has the day of birth read from the sealed ID number."""
    facts = dict(row)
    plan, status, sealed = facts.pop("plan"), facts.pop("status"), facts.pop("id_number_sealed")
    retired_on, at_work_by, counters = facts.pop("retired_on"), facts.pop("at_work_by"), facts.pop("counters")
    if plan is None:
        return CardContext(**facts)
    covered = Covered(
        plan=plan,
        status=status,
        born_on=numbers.born_on(vault.id_number.open(sealed, facts["person_id"])),
        retired_on=retired_on,
        at_work_by=at_work_by,
        counters={int(year): counted for year, counted in (counters or {}).items()},
    )
    return CardContext(**facts, covered=covered)


def check_certificate(
    certificate: Certificate,
    card_number: str,
    *,
    intermediates: Sequence[Certificate],
    roots: Sequence[Certificate],
    now: dt.datetime,
) -> None:
    """Return when this is a valid certificate of this very card. Raises ``CardNotRegistrable``."""
    try:
        verify_chain(certificate, intermediates=intermediates, roots=roots, at=now)
    except CertificateInvalid as error:
        raise CardNotRegistrable(error.reason, f"the card's certificate is not valid: {error.reason}") from error
    if certificate.is_ca:
        raise CardNotRegistrable("authority", "an authority's certificate is not a card's")
    if certificate.subject != card_number:
        raise CardNotRegistrable("subject", "the certificate was issued to another card")


def summary(row: Record, vault: Vault) -> CardSummary:
    """A row of ``list_cards`` or ``describe_card``, the card number masked."""
    person_id, card_id = row["person_id"], row["card_id"]
    return CardSummary(
        person_id=person_id,
        card_id=card_id,
        card_number=mask_number(vault.card_number.open(row["card_number_sealed"], person_id, card_id)),
        kind=row["kind"],
        life=row["life"],
        social=row["social"],
        financial=row["financial"],
        expires_on=row["expires_on"],
        bank_code=row["bank_code"],
    )


def description(row: Record, events: Sequence[Record], vault: Vault) -> CardDescription:
    """A row of ``describe_card`` with its ``card_events``; name and numbers masked."""
    person_id, card_id, pan_sealed = row["person_id"], row["card_id"], row["pan_sealed"]
    return CardDescription(
        card=summary(row, vault),
        name=mask_name(vault.name.open(row["name_sealed"], person_id)),
        id_number=mask_number(vault.id_number.open(row["id_number_sealed"], person_id)),
        pan=None if pan_sealed is None else mask_number(vault.pan.open(pan_sealed, person_id, card_id)),
        issued_on=row["issued_on"],
        certificate_fingerprint=row["certificate_fingerprint"],
        certificate_not_after=row["certificate_not_after"],
        certificate_revoked_at=row["certificate_revoked_at"],
        last_counter=row["last_counter"],
        current_year_available_fen=row["current_year_available_fen"],
        carried_over_available_fen=row["carried_over_available_fen"],
        events=tuple(CardEvent(**dict(event)) for event in events),
    )


def _certificate_columns(certificate: Certificate | None, vault: Vault, key: tuple[int, int]) -> tuple[object, ...]:
    if certificate is None:
        return (None, None, None, None)
    return (
        vault.certificate.seal(certificate.pem(), *key),
        certificate.fingerprint,
        certificate.not_after,
        certificate.public_key.to_bytes(),
    )
