"""From an order to a request's fields, and from an answer's fields to an outcome. Pure: no socket, no clock."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from settlement.banks.codes import APPROVED, Verb, outcome_of
from settlement.banks.iso.codec import Message, MessageError
from settlement.banks.iso.dates import month_day
from settlement.banks.iso.keys import WorkingKeys
from settlement.banks.iso.original import DebitStatus, Original, read_status
from settlement.banks.iso.spec import ANSWER_OF, CURRENCY_CNY, DEBIT_CODE, INQUIRY_CODE, PATTERNS, RETURN_CODE, Mti
from settlement.banks.port import BankAnswer, BankOrder, BankOutcome, MessageIdentity
from settlement.businessdate import SHANGHAI
from terminal_sdk.pin import PinBlockInvalid, translate_pin_block

INSTITUTION_WIDTH = 15
MAX_AMOUNT_FEN = 10**12 - 1

AnswerKey = tuple[str, str, str, str, str]
"""Type of the answer, terminal (41), date-time (7), trace (11), reference (37); the bank is the link."""

_SHAPE: dict[Verb, tuple[Mti, str]] = {
    Verb.DEBIT: (Mti.FINANCIAL, DEBIT_CODE),
    Verb.VOID: (Mti.FINANCIAL, RETURN_CODE),
    Verb.REFUND: (Mti.REFUND, RETURN_CODE),
    Verb.REVERSE: (Mti.REVERSAL, DEBIT_CODE),
    Verb.INQUIRE: (Mti.INQUIRY, INQUIRY_CODE),
}

_GONE = {DebitStatus.VOIDED: "voided", DebitStatus.REVERSED: "reversed", DebitStatus.REFUNDED: "refunded"}


class OrderError(Exception):
    """This order cannot be put into a message. ``detail`` is the word for the answer; nothing is sent."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a valid answer to one request looks like."""

    verb: Verb
    identity: MessageIdentity
    amount: str
    processing_code: str
    key: AnswerKey


@dataclass(frozen=True, slots=True)
class Request:
    """The fields of a message and what its answer must show."""

    fields: dict[str, str] = field(repr=False)
    expected: Expected


def build(verb: Verb, order: BankOrder, *, keys: WorkingKeys, acquirer: str, now: dt.datetime) -> Request:
    """The request for an order, its PIN block translated to the bank's key. Raises ``OrderError``."""
    mti, processing_code = _SHAPE[verb]
    identity = order.identity
    if not 0 < order.amount_fen <= MAX_AMOUNT_FEN:
        raise OrderError("malformed")
    local = now.astimezone(SHANGHAI)
    amount = f"{order.amount_fen:012d}"
    fields = {
        "t": str(mti),
        "2": order.pan,
        "3": processing_code,
        "4": amount,
        "7": identity.transmitted,
        "11": identity.trace,
        "12": f"{local:%H%M%S}",
        "13": f"{local:%m%d}",
        "32": acquirer,
        "37": identity.reference,
        "41": identity.terminal_id,
        "42": order.institution_id.ljust(INSTITUTION_WIDTH),
        "49": CURRENCY_CNY,
        "53": keys.label,
    }
    if verb is Verb.DEBIT:
        fields.update(_pin_field(order, keys))
    else:
        fields.update(_original_fields(order, acquirer))
    # Checked here as well as by the codec: a malformed order must be told apart from a fault of the link.
    if any(not PATTERNS[number].fullmatch(value) for number, value in fields.items()):
        raise OrderError("malformed")
    key = (ANSWER_OF[mti], identity.terminal_id, identity.transmitted, identity.trace, identity.reference)
    return Request(fields, Expected(verb, identity, amount, processing_code, key))


def _pin_field(order: BankOrder, keys: WorkingKeys) -> dict[str, str]:
    """Field 52. In translation the PIN is in clear for a moment; a bank would do this inside a security module."""
    if order.pin_block is None:
        return {}
    if order.pin_key is None:
        raise OrderError("pin_block_invalid")
    try:
        return {"52": translate_pin_block(order.pin_block, order.pan, order.pin_key, keys.pin).hex().upper()}
    except PinBlockInvalid:
        raise OrderError("pin_block_invalid") from None


def _original_fields(order: BankOrder, acquirer: str) -> dict[str, str]:
    original = order.original
    if original is None or original.bank != order.identity.bank:
        raise OrderError("malformed")
    named = Original(original.terminal_id, original.transmitted, original.trace, original.reference)
    return named.fields(acquirer)


def key_of(message: Message) -> AnswerKey:
    """By which request a message asks to be matched."""
    return (message.mti, message.get("41"), message.get("7"), message.get("11"), message.get("37"))


def judge(expected: Expected, message: Message, mac_key: bytes | None, today: dt.date) -> BankAnswer:
    """What an answer with the right identity proves. ``today`` (local) gives field 15 its year.

    Without a valid MAC, the right amount in the right currency and the right processing code it proves nothing: the
    outcome stays unknown.
    """
    if mac_key is None or not message.mac_is_valid(mac_key):
        return BankAnswer(outcome=BankOutcome.UNKNOWN, detail="bad_mac")
    code = message.get("39")
    wrong = _contradiction(expected, message)
    if wrong:
        return BankAnswer(outcome=BankOutcome.UNKNOWN, response_code=code or None, detail=wrong)
    if expected.verb is Verb.INQUIRE and code == APPROVED:
        return _judge_inquiry(message)
    date = message.get("15")
    return BankAnswer(
        outcome=outcome_of(expected.verb, code),
        response_code=code,
        authorisation=message.get("38") or None,
        settlement_date=month_day(date, today) if date else None,
    )


def _contradiction(expected: Expected, message: Message) -> str:
    """In what a message is no answer to its request; empty when it is one."""
    if message.get("4") != expected.amount:
        return "wrong_amount"
    if message.get("3") != expected.processing_code:
        return "wrong_code"
    if message.get("49") not in {CURRENCY_CNY, ""}:
        return "wrong_currency"
    return "" if message.get("39") else "malformed"


def _judge_inquiry(message: Message) -> BankAnswer:
    """The bank knows the debit: was it approved, and does it still stand?"""
    try:
        status = read_status(message.get("62"))
    except MessageError:
        return BankAnswer(outcome=BankOutcome.UNKNOWN, detail="malformed")
    approved = status.response_code == APPROVED
    if approved == (status.status is DebitStatus.DECLINED):
        return BankAnswer(outcome=BankOutcome.UNKNOWN, detail="malformed")
    gone = _GONE.get(status.status)
    return BankAnswer(
        outcome=BankOutcome.APPROVED if approved and gone is None else BankOutcome.DECLINED,
        response_code=status.response_code,
        authorisation=status.authorisation,
        settlement_date=status.settlement_date,
        detail=gone or "",
    )
