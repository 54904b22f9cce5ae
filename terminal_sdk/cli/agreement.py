"""What the patient agrees to before a bill is settled: an offer, or a ceiling for the bank account."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from terminal_sdk import wire
from terminal_sdk.card import CardSession
from terminal_sdk.cli.outcomes import money, quote_lines
from terminal_sdk.cli.text import table
from terminal_sdk.cli.till import Till
from terminal_sdk.client import Bill
from terminal_sdk.client.delivery import request_of
from terminal_sdk.errors import KeyReused


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Exactly one of ``quote`` and ``ceiling_fen``. ``pin_wanted``: the bank account may have to pay.

    ``given_before``: it stands in the journal already, so nobody is asked again.
    """

    quote: wire.Quote | None
    ceiling_fen: int | None
    pin_wanted: bool
    given_before: bool = False

    def lines(self, bill: Bill) -> list[str]:
        """For people, before they agree."""
        if self.quote is not None:
            return quote_lines(self.quote, bill["visit_no"])
        return table(
            [
                ("Bill 就诊号", bill["visit_no"]),
                ("Total 合计", money(_total_fen(bill))),
                ("Bank account at most 银行卡最多支付", money(self.ceiling_fen or 0)),
            ]
        )

    def needs_pin(self, card: CardSession) -> bool:
        """Whether a bank PIN has to be asked for: a card without a bank account never needs one."""
        return self.pin_wanted and card.read().bank is not None


def new_agreement(
    till: Till,
    card: CardSession,
    bill: Bill,
    remainder: wire.Remainder,
    ceiling_fen: int | None,
    *,
    wants_quote: bool,
    consent: wire.Consent | None,
) -> Agreement:
    """Ask the service for an offer, or take a ceiling (fen): the one given, else the whole bill.

    Raises ``RequestRefused``, ``ServiceUnreachable``, ``SignInRefused``, ``AnswerInvalid``, ``InvalidRequest`` and what
    card and reader raise.
    """
    if wants_quote:
        offer = till.run(till.terminal.quote(card=card, remainder=remainder, consent=consent, **bill))
        return Agreement(quote=offer, ceiling_fen=None, pin_wanted=offer.split.bank_fen > 0)
    most_fen = _total_fen(bill) if ceiling_fen is None else ceiling_fen
    if remainder == "cash":
        most_fen = 0
    return Agreement(quote=None, ceiling_fen=most_fen, pin_wanted=most_fen > 0)


def known_agreement(till: Till, key: str | None, ceiling_fen: int | None) -> Agreement | None:
    """What stands in the journal under this key: the same key is the same attempt, with what was agreed to then.

    A new offer would make it another request. None for a new key. Raises ``KeyReused`` for a ceiling (fen) that is
    given now and was another one then, ``JournalError``.
    """
    entry = None if key is None else till.journal.find(key)
    request = None if entry is None else request_of(entry)
    if entry is None or not isinstance(request, wire.SettlementRequest):
        return None
    if ceiling_fen is not None and ceiling_fen != request.bank_ceiling_fen:
        raise KeyReused(entry.idempotency_key)
    return Agreement(
        quote=None if request.quote is None else _offer_behind(request.quote),
        ceiling_fen=request.bank_ceiling_fen,
        pin_wanted=request.pin_block is not None and entry.state != "answered",
        given_before=True,
    )


def _offer_behind(token: str) -> wire.Quote:
    """An offer of which only the token is known: all that a request repeats of it. Nothing signs or shows the rest."""
    nothing = wire.Split(total_fen=0, own_expense_fen=0, current_year_fen=0, carried_over_fen=0, bank_fen=0, cash_fen=0)
    return wire.Quote(
        token=token,
        digest="",
        split=nothing,
        balance_after=wire.BalanceAfter(current_year_fen=0, carried_over_fen=0),
        bank_notice=None,
        expires_at=dt.datetime.min.replace(tzinfo=dt.UTC),
    )


def _total_fen(bill: Bill) -> int:
    return sum(line.amount_fen for line in bill["lines"])
