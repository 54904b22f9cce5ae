"""What the registry knows of a card: for a settlement, for an operator's eyes (masked), and as a history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["third_generation", "legacy"]
Life = Literal["issued", "lost", "void"]
FunctionState = Literal["inactive", "active", "frozen"]
Function = Literal["social", "financial"]
"""The two independent functions of a card: insurance (社会保障) and bank account (金融)."""
Status = Literal["working", "retired", "resident", "minor"]
"""As whom a person is insured."""
Account = Literal["current_year", "carried_over"]
"""A person's two insurance accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """By which plan a person is covered on a service date, and as whom.

    ``counters``: how far the counters of the plan stand, fen by insurance year and name. Years before the one that may
    still hold on the service date are left out.
    """

    plan: str
    status: Status
    born_on: dt.date
    retired_on: dt.date | None
    at_work_by: dt.date | None
    counters: Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardContext:
    """A card as a settlement sees it: one snapshot of the card and of the person's insurance accounts.

    Certificate fields and ``public_key`` (65 bytes 04‖x‖y) are None on a legacy card; ``bank_code`` and ``pan_sealed``
    where there is no bank account. ``last_counter``: the highest counter a settlement was accepted with.
    ``account_version`` names the state of the accounts that the two available amounts (fen) belong to, and ``covered``:
    None where no plan covers the person then, or no service date was given.
    """

    person_id: int
    card_id: int
    kind: Kind
    life: Life
    social: FunctionState
    financial: FunctionState
    expires_on: dt.date
    certificate_fingerprint: str | None
    certificate_not_after: dt.datetime | None
    certificate_revoked_at: dt.datetime | None
    public_key: bytes | None = field(repr=False)
    bank_code: str | None
    pan_sealed: bytes | None = field(repr=False)
    last_counter: int
    account_version: int
    current_year_available_fen: int
    carried_over_available_fen: int
    covered: Covered | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """By which plan a person is covered from a day on, and as whom; without plan and status: by none.

    ``retired_on``: of a retired person · ``at_work_by``: when work began, where a plan asks for it.
    """

    valid_from: dt.date
    plan: str | None
    status: Status | None
    retired_on: dt.date | None = None
    at_work_by: dt.date | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody is."""
        if (self.plan is None) != (self.status is None):
            raise ValueError("plan and status go together")
        if self.retired_on is not None and self.status != "retired":
            raise ValueError("only a retired person has a day of retirement")
        if self.at_work_by is not None and self.status not in ("working", "retired"):
            raise ValueError("only who works or has retired began to work")
        if self.at_work_by is not None and self.retired_on is not None and self.at_work_by > self.retired_on:
            raise ValueError("nobody retires before beginning to work")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSummary:
    """One line of a list of cards. ``card_number`` is masked."""

    person_id: int
    card_id: int
    card_number: str
    kind: Kind
    life: Life
    social: FunctionState
    financial: FunctionState
    expires_on: dt.date
    bank_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardEvent:
    """One entry of a card's history. ``replaced_by``: the card whose activation voided this one."""

    event: str
    happened_at: dt.datetime
    replaced_by: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardDescription:
    """Everything an operator may see of a card. Name and numbers are masked; amounts in fen."""

    card: CardSummary
    name: str
    id_number: str
    pan: str | None
    issued_on: dt.date
    certificate_fingerprint: str | None
    certificate_not_after: dt.datetime | None
    certificate_revoked_at: dt.datetime | None
    last_counter: int
    current_year_available_fen: int
    carried_over_available_fen: int
    events: tuple[CardEvent, ...]
