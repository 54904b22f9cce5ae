"""How ``settlement cards`` shows a card to a person."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from settlement.cards.model import CardDescription, CardEvent, Coverage


def text(found: CardDescription, coverages: Sequence[Coverage] = ()) -> str:
    """A card as lines for a person to read."""
    card = found.card
    rows = [
        ("card", f"{card.card_number}  ({card.kind}, person {card.person_id}, card {card.card_id})"),
        ("holder", f"{found.name}  {found.id_number}"),
        ("life", f"{card.life}, issued {found.issued_on}, expires {card.expires_on}"),
        ("social", card.social),
        ("financial", card.financial + (f", {card.bank_code} {found.pan}" if card.bank_code else ", no bank account")),
        ("certificate", _certificate(found)),
        ("accounts", f"current year {yuan(found.current_year_available_fen)}"),
        ("", f"carried over {yuan(found.carried_over_available_fen)}"),
    ]
    rows += [("coverage" if not place else "", coverage_text(each)) for place, each in enumerate(coverages)]
    rows += [("history" if not place else "", _event(event)) for place, event in enumerate(found.events)]
    return "\n".join(f"{label:<12} {value}" for label, value in rows)


def coverage_text(coverage: Coverage) -> str:
    """From when on a person is covered by what, and as whom."""
    if coverage.plan is None:
        return f"from {coverage.valid_from} by no plan"
    retired = f" since {coverage.retired_on}" if coverage.retired_on else ""
    at_work = f", at work by {coverage.at_work_by}" if coverage.at_work_by else ""
    return f"from {coverage.valid_from} by {coverage.plan}, {coverage.status}{retired}{at_work}"


def _certificate(found: CardDescription) -> str:
    if found.certificate_fingerprint is None or found.certificate_not_after is None:
        return "none"
    revoked = f", revoked {_moment(found.certificate_revoked_at)}" if found.certificate_revoked_at else ""
    return f"{found.certificate_fingerprint[:16]}…, until {_moment(found.certificate_not_after)}{revoked}"


def _event(event: CardEvent) -> str:
    replaced = f" (replaced by card {event.replaced_by})" if event.replaced_by is not None else ""
    return f"{_moment(event.happened_at)}  {event.event}{replaced}"


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def yuan(fen: int) -> str:
    """Fen as yuan with two decimals."""
    return f"{fen // 100}.{fen % 100:02d}"
