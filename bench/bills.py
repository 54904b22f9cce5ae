"""The bill that everybody pays in the bench, and what must lie on an account so that it is paid as it should be."""

from __future__ import annotations

import datetime as dt

from bench.load.jobs import Payment
from loadtest.prepared import CardKey, ProofOrder, sign
from settlement.businessdate import SHANGHAI
from settlement.policy.split import Balances, split_bill
from terminal_sdk import wire
from terminal_sdk.clock import epoch_ms

LINES = (
    wire.FeeLine(line_no=1, item_code="110200001", item_name="普通门诊诊察费", category="A", amount_fen=25_00),
    wire.FeeLine(
        line_no=2, item_code="XJ01CAA040B001", item_name="阿莫西林胶囊", category="A", amount_fen=61_20, quantity="2"
    ),
)
TOTAL_FEN = sum(line.amount_fen for line in LINES)
CURRENT_YEAR_FEN: dict[Payment, int] = {"account": 200_00, "bank": 10_00}
"""What lies on the current-year account before the bill; under ``bank`` the bank pays the rest."""
BANK_ACCOUNT_FEN = 10_000_00
BANK_FEN: dict[Payment, int] = {"account": 0, "bank": TOTAL_FEN - CURRENT_YEAR_FEN["bank"]}


def settlement_request(
    card: CardKey,
    *,
    terminal_id: str,
    visit_no: str,
    payment: Payment,
    now: dt.datetime,
    pin_block: str | None,
    deadline_ms: int = 150_000,
) -> wire.SettlementRequest:
    """The request for the bill, with the proof signed here and now (some 0.7 ms); it is the card's first."""
    ceiling_fen = BANK_FEN[payment]
    proof = sign(
        ProofOrder(
            card=card,
            counter=1,
            terminal_id=terminal_id,
            visit_no=visit_no,
            total_fen=TOTAL_FEN,
            agreed=f"ceiling:{ceiling_fen}",
            signed_at_ms=epoch_ms(now),
        )
    )
    return wire.SettlementRequest(
        idempotency_key=f"{terminal_id}-{visit_no}",
        visit_no=visit_no,
        visit_type="outpatient",
        service_date=now.astimezone(SHANGHAI).date(),
        card=wire.CardRef(card_number=card.card_number, certificate_fingerprint=card.fingerprint),
        lines=list(LINES),
        total_fen=TOTAL_FEN,
        proof=proof,
        bank_ceiling_fen=ceiling_fen,
        pin_block=pin_block,
        deadline_ms=deadline_ms,
    )


def sample_answer(now: dt.datetime) -> wire.Settlement:
    """An answer to the bill paid by the account alone, of the size that the service's own has."""
    number = "01681000-8c1a-7d3e-9b7a-3f5e2c9d1a40"
    return wire.Settlement(
        settlement_id=number,
        idempotency_key="BNCH0001-B0123456789-100",
        visit_no="B0123456789-100",
        state="settled",
        final=True,
        split=split_bill(LINES, Balances(CURRENT_YEAR_FEN["account"], 0, 1), "bank"),
        accepted_at=now,
        deadline_at=now + dt.timedelta(seconds=150),
        posting_date=now.astimezone(SHANGHAI).date(),
        bank=None,
        bank_notice=None,
        decline=None,
        receipt_id=number,
        reversal_id=None,
    )
