"""A case in doubt in plain words: what the service is going to do with it, and what an operator may do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from settlement.banks.directory import Bank
from settlement.engine.bank_legs import STATEMENT_AFTER
from settlement.engine.moves import BANK
from settlement.ledger.cases import OpenCase

Shown = Callable[[dt.datetime], str]


def what_happens_next(case: OpenCase, bank: Bank | None, now: dt.datetime, shown: Shown) -> str:
    """What recovery does at the case's next attempt, and what ends the case. ``shown``: how a moment is written."""
    if bank is None:
        return f"nothing can be sent: {case.bank_code} is not in the directory of banks"
    if case.leg != BANK:
        return _return(case)
    match case.state:
        case "approved":
            return "the bank has approved; posting the bill is repeated until it commits"
        case "undoing":
            return _undoing(case, bank, shown)
        case _ if now >= case.deadline_at:
            return "the till's deadline has passed: the bill is turned back, and the bank is sent a reversal (0400)"
        case _:
            asked = (
                "the bank is asked what became of the debit" if bank.offers_inquiry else "a late answer is waited for"
            )
            return f"{asked}; without an approval the bill is turned back at {shown(case.deadline_at)}"


def what_to_do(case: OpenCase, bank: Bank | None, alarm: bool) -> str:
    """What an operator may do. ``alarm``: the case is older than cases usually get."""
    if bank is None:
        return f"put {case.bank_code} back into the directory and restart the service"
    known_as = f"reference {case.reference} (field 37), trace {case.trace}"
    if case.state == "refused":
        return f"call the bank: it refused with code {case.response_code}; {known_as}"
    if case.state == "approved":
        return "look into the service's log for capture_failed: the database refuses the posting"
    if not alarm:
        return "nothing yet"
    return f"is the link up (settlement_bank_link_ready)? Else call the bank; {known_as}"


def _undoing(case: OpenCase, bank: Bank, shown: Shown) -> str:
    repeated = "the reversal (0400) is repeated until the bank acknowledges it; the insurance share is free already"
    if bank.remembers_reversal:
        return repeated
    return f"{repeated}; not found counts at this bank only from {shown(case.accepted_at + STATEMENT_AFTER)} on"


def _return(case: OpenCase) -> str:
    if case.state == "refused":
        return f"the bank refused the {case.verb}; it is asked again every ten minutes, and never given up"
    return f"the {case.verb} is repeated under its own reference until the bank answers"
