"""Why a bank part did not happen: stable codes with a message for the till, from the bank's own response codes."""

from __future__ import annotations

DECLINES: dict[str, str] = {
    "BANK_DECLINED": "The bank declined the debit.",
    "BANK_INSUFFICIENT_FUNDS": "The bank account does not hold enough.",
    "BANK_PIN_WRONG": "The bank PIN is wrong, or is needed for this amount.",
    "BANK_PIN_UNREADABLE": "The PIN block is not for this card and session; enter the PIN again. Nothing was sent.",
    "BANK_PIN_BLOCKED": "The bank PIN is blocked; the patient must see the bank.",
    "BANK_LIMIT": "The bank account's limit is reached.",
    "BANK_CARD_INVALID": "The bank does not accept this card.",
    "BANK_UNAVAILABLE": "The bank cannot be reached now; nothing was sent to it.",
    "BANK_TIMEOUT": "The bank did not answer in time; what it may have charged is being taken back.",
    "REVERSED_BY_TILL": "The till took the bill back before the bank had answered.",
    "FINANCIAL_NOT_ACTIVE": "The card's financial function is not activated; the remainder is due in cash.",
    "FINANCIAL_FROZEN": "The card's financial function is frozen; the remainder is due in cash.",
    "NO_BANK_ACCOUNT": "The card has no bank account; the remainder is due in cash.",
}
"""Decline and notice codes that stand in answers of settlements (refusals of requests stand in `settlement.errors`)."""

_BY_RESPONSE_CODE = {
    "14": "BANK_CARD_INVALID",
    "51": "BANK_INSUFFICIENT_FUNDS",
    "54": "BANK_CARD_INVALID",
    "55": "BANK_PIN_WRONG",
    "61": "BANK_LIMIT",
    "65": "BANK_LIMIT",
    "75": "BANK_PIN_BLOCKED",
}


def not_sent_code(detail: str) -> str:
    """The stable code for a debit that never left this service, by the link's own word for why."""
    return "BANK_PIN_UNREADABLE" if detail == "pin_block_invalid" else "BANK_UNAVAILABLE"


def decline_code(response_code: str | None) -> str:
    """The stable code for a bank's response code (field 39)."""
    return _BY_RESPONSE_CODE.get(response_code or "", "BANK_DECLINED")
