"""From ledger rows to what a terminal is told: the same durable state always gives the same answer."""

from __future__ import annotations

import uuid

import msgspec

from settlement.engine.declines import DECLINES
from settlement.ledger.records import Row
from terminal_sdk.wire import BankPart, Decline, PlanUsed, ReceiptLine, Refund, Reversal, Settlement, Split, SplitPart

PAYERS = ("pooled_fund", "additional_fund", "current_year", "carried_over", "deposit", "bank", "cash")
FINAL_STATES = frozenset({"settled", "declined", "reversed"})


def settlement_view(row: Row) -> Settlement:
    """A settlement as the terminal sees it, from a row of ``settlement_status``."""
    state = row["state"]
    return Settlement(
        settlement_id=str(row["settlement_id"]),
        idempotency_key=row["idempotency_key"],
        visit_no=row["visit_no"],
        state=state,
        final=state in FINAL_STATES,
        split=split_view(row),
        accepted_at=row["accepted_at"],
        deadline_at=row["deadline_at"],
        posting_date=row["posting_date"],
        bank=bank_part(row, row["bank_amount_fen"]),
        bank_notice=row["bank_notice"],
        decline=_decline(row),
        receipt_id=None if row["receipt_id"] is None else str(row["receipt_id"]),
        reversal_id=None if row["reversal_id"] is None else str(row["reversal_id"]),
        returned_fen=row["returned_fen"],
        refund_ids=[str(each) for each in row["refund_ids"] or ()],
        insurance_notice=insurance_left_out(row),
        plans=plans_view(row),
    )


def insurance_left_out(row: Row) -> str | None:
    """Why the insurance accounts paid nothing, by the patient's consent; None where there was no need of it."""
    return "CARD_FROZEN" if row["consent"] == "without_insurance" else None


def plans_view(row: Row) -> list[PlanUsed]:
    """By which plan the bill was judged, or a stay by which ones; none where no plan covered the person."""
    return msgspec.convert(row["policy"] or [], list[PlanUsed])


def receipt_lines(row: Row) -> list[ReceiptLine]:
    """The lines of a receipt; where a plan judged the bill, each with the class by which it was."""
    judged = {line["line_no"]: line["category"] for record in row["policy"] or () for line in record["lines"]}
    lines = msgspec.convert(row["lines"], list[ReceiptLine], strict=False)
    return [msgspec.structs.replace(line, category=judged.get(line.line_no, line.category)) for line in lines]


def split_view(row: Row) -> Split:
    """Who paid what. Where the bank declined and cash took its place, the explaining parts say cash too."""
    parts = msgspec.convert(row["parts"], list[SplitPart])
    if row["bank_fen"] == 0:
        parts = [msgspec.structs.replace(part, payer="cash") if part.payer == "bank" else part for part in parts]
    return Split(
        total_fen=row["bill_fen"],
        own_expense_fen=row["own_expense_fen"],
        pooled_fund_fen=row["pooled_fund_fen"],
        additional_fund_fen=row["additional_fund_fen"],
        deposit_fen=row["deposit_fen"],
        current_year_fen=row["current_year_fen"],
        carried_over_fen=row["carried_over_fen"],
        bank_fen=row["bank_fen"],
        cash_fen=row["cash_fen"],
        parts=parts,
    )


def bank_part(row: Row, amount_fen: int | None) -> BankPart | None:
    """The bank's side, or None where no bank was asked."""
    if row["bank_code"] is None:
        return None
    return BankPart(
        bank=row["bank_code"],
        amount_fen=amount_fen or 0,
        state=row["bank_state"],
        reference=row["bank_reference"],
        authorisation=row["bank_authorisation"],
        response_code=row["bank_response_code"],
    )


def _decline(row: Row) -> Decline | None:
    if row["decision"] != "backward":
        return None
    code = row["decline_code"]
    return Decline(code=code, message=DECLINES[code], bank_code=row["decline_bank_code"])


def reversal_in_place(row: Row, reversal_key: str) -> Reversal:
    """The reversal of a settlement that had not settled: it was turned back, or had declined."""
    view = settlement_view(row)
    reversed_now = view.state in {"reversed", "declined"}
    return Reversal(
        reversal_id=view.settlement_id,
        idempotency_key=reversal_key,
        settlement_id=view.settlement_id,
        state="reversed" if reversed_now else "reversing",
        final=reversed_now,
        returned=None,
        bank=view.bank,
        receipt_id=None,
    )


def reversal_view(row: Row, reversal_key: str) -> Reversal:
    """A reversal saga as the terminal sees it: complete when its receipt stands."""
    done = row["issued_at"] is not None
    return Reversal(
        reversal_id=str(row["undo_id"]),
        idempotency_key=reversal_key,
        settlement_id=str(row["settlement_id"]),
        state="reversed" if done else "reversing",
        final=done,
        returned=_returned(row),
        bank=bank_part(row, row["bank_fen"]),
        receipt_id=str(row["undo_id"]) if done else None,
    )


def refund_view(row: Row) -> Refund:
    """A refund as the terminal sees it: complete when its receipt stands."""
    done = row["issued_at"] is not None
    return Refund(
        refund_id=str(row["undo_id"]),
        idempotency_key=row["idempotency_key"],
        settlement_id=str(row["settlement_id"]),
        state="refunded" if done else "refunding",
        final=done,
        returned=_returned(row),
        bank=bank_part(row, row["bank_fen"]),
        receipt_id=str(row["undo_id"]) if done else None,
    )


def _returned(row: Row) -> Split:
    """What an undo gives back, and to whom."""
    paid = {f"{payer}_fen": row[f"{payer}_fen"] for payer in PAYERS}
    return Split(
        total_fen=sum(paid.values()),
        own_expense_fen=row["own_expense_fen"],
        **paid,
        parts=msgspec.convert(row["parts"], list[SplitPart]),
    )


def buried_reversal(reversal_id: uuid.UUID, reversal_key: str) -> Reversal:
    """The reversal of a key that never arrived: nothing to take back, and nothing can come any more."""
    return Reversal(
        reversal_id=str(reversal_id),
        idempotency_key=reversal_key,
        settlement_id=None,
        state="reversed",
        final=True,
        returned=None,
        bank=None,
        receipt_id=None,
    )
