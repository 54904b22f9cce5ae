"""What became of a bill or of its reversal: the exit code, the object for programs, the lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from terminal_sdk import wire
from terminal_sdk.cli.amounts import yuan_of
from terminal_sdk.cli.exits import Exit
from terminal_sdk.cli.text import AMOUNT_WIDTH, table
from terminal_sdk.journal import Operation
from terminal_sdk.results import AnyResult, Declined, NotYetKnown, Refunded, Refused, Reversed, Settled

Outcome = Literal["settled", "declined", "reversed", "refunded", "refused", "not_yet_known"]

_NAMES: dict[type, tuple[Outcome, Exit, str]] = {
    Settled: ("settled", Exit.DONE, "paid 已支付"),
    Declined: ("declined", Exit.DECLINED, "declined, nothing was charged 未支付"),
    Reversed: ("reversed", Exit.REVERSED, "reversed, not paid 已冲正"),
    Refunded: ("refunded", Exit.DONE, "given back 已退款"),
    Refused: ("refused", Exit.REFUSED, "refused, nothing was changed 已拒绝"),
    NotYetKnown: ("not_yet_known", Exit.NOT_YET_KNOWN, "NOT YET KNOWN: may be paid or not 状态未知"),
}
_WHAT_TO_DO: dict[Operation, str] = {
    "settlement": "do not charge in another way; settlement-terminal journal recover finds out",
    "reversal": "it is queued; settlement-terminal forward sends it until it is answered",
    "refund": "it is queued, do not ask for it anew; settlement-terminal forward sends it until it is answered",
}


def exit_of(result: AnyResult, *, undoing: bool = False) -> Exit:
    """The exit code. ``undoing``: the command was to take a bill back, so that a reversal is what was asked for."""
    if undoing and isinstance(result, Reversed):
        return Exit.DONE
    return _NAMES[type(result)][1]


def result_view(result: AnyResult, *, undoing: bool = False) -> dict[str, Any]:
    """The object of ``--json``; the same keys for every outcome, null where one does not apply. Amounts are fen."""
    settlement = None if isinstance(result, Refused | Refunded) else result.settlement
    refusal = result.detail if isinstance(result, Refused) else None
    reversal = result.reversal if isinstance(result, Reversed) else None
    said = result if isinstance(result, Declined) else refusal
    return {
        "outcome": _NAMES[type(result)][0],
        "exit_code": int(exit_of(result, undoing=undoing)),
        "final": _final(result),
        "idempotency_key": result.idempotency_key,
        "code": said.code if said else None,
        "message": said.message if said else None,
        "bank_code": result.bank_code if isinstance(result, Declined) else None,
        "reason": result.reason if isinstance(result, NotYetKnown) else None,
        "settlement": msgspec.to_builtins(settlement),
        "reversal": msgspec.to_builtins(reversal),
        "refund": msgspec.to_builtins(result.refund) if isinstance(result, Refunded) else None,
        "quote": msgspec.to_builtins(refusal.quote) if refusal else None,
    }


def result_lines(result: AnyResult) -> list[str]:
    """The outcome for people."""
    return table(_rows(result))


def split_rows(split: wire.Split, *, all_payers: bool = False) -> Iterator[tuple[str, str]]:
    """Who pays what, in yuan; ``all_payers``: accounts, bank and cash also where they pay nothing."""
    for label, fen, always in (
        ("Pooled fund 统筹基金支付", split.pooled_fund_fen, False),
        ("Additional fund 附加基金支付", split.additional_fund_fen, False),
        ("Current-year account 当年账户支付", split.current_year_fen, all_payers),
        ("Carried-over account 历年账户支付", split.carried_over_fen, all_payers),
        ("Deposit 预交金抵扣", split.deposit_fen, False),
        ("Bank account 银行卡支付", split.bank_fen, all_payers),
        ("Cash 现金", split.cash_fen, all_payers),
    ):
        if fen or always:
            yield label, money(fen)
    if split.own_expense_fen:
        yield "of it own expense 其中自费(丙类)", money(split.own_expense_fen)


def quote_lines(quote: wire.Quote, bill_number: str) -> list[str]:
    """An offer for people."""
    after = quote.balance_after
    return table(
        [
            ("Bill 就诊号", bill_number),
            ("Total 合计", money(quote.split.total_fen)),
            *split_rows(quote.split, all_payers=True),
            ("Judged by plan 医保方案", ", ".join(f"{used.plan} {used.version}: {used.rule}" for used in quote.plans)),
            ("Left, current year 当年账户余额", money(after.current_year_fen)),
            ("Left, carried over 历年账户余额", money(after.carried_over_fen)),
            ("No insurance account pays 医保不支付", quote.insurance_notice or ""),
            ("No bank account is asked 不扣银行卡", quote.bank_notice or ""),
            ("Good until 有效至", f"{quote.expires_at:%Y-%m-%d %H:%M:%S}Z"),
        ]
    )


def money(fen: int) -> str:
    """Yuan, set to the right."""
    return yuan_of(fen).rjust(AMOUNT_WIDTH)


def receipt_id_of(result: AnyResult) -> str | None:
    """The receipt that proves this outcome, if there is one already."""
    if isinstance(result, Settled):
        return result.settlement.receipt_id or result.settlement_id
    if isinstance(result, Reversed) and result.reversal is not None:
        return result.reversal.receipt_id
    return result.refund.receipt_id if isinstance(result, Refunded) else None


def _final(result: AnyResult) -> bool:
    return result.final if isinstance(result, Reversed | Refunded) else not isinstance(result, NotYetKnown)


def _rows(result: AnyResult) -> Iterator[tuple[str, str]]:
    yield "Outcome 结果", _NAMES[type(result)][2]
    if isinstance(result, Settled):
        yield "Settlement 单号", result.settlement_id
        yield "Total 合计", money(result.split.total_fen)
        yield from split_rows(result.split)
        yield "No insurance account paid 医保未支付", result.settlement.insurance_notice or ""
        yield "No bank account was asked 不扣银行卡", result.settlement.bank_notice or ""
        yield "COLLECT IN CASH 请收现金", money(result.cash_fen) if result.cash_fen else ""
    elif isinstance(result, Declined):
        yield "Because 原因", f"{result.code}: {result.message}"
        yield "Bank's code 银行应答码", result.bank_code or ""
    elif isinstance(result, Refused):
        yield "Because 原因", f"{result.code}: {result.message}"
        yield "Settlement in the way 已有单号", result.detail.settlement_id or ""
        yield "The bank would pay now 银行卡支付", money(result.quote.split.bank_fen) if result.quote else ""
    elif isinstance(result, Reversed):
        yield from _reversed_rows(result)
    elif isinstance(result, Refunded):
        yield from _refunded_rows(result)
    else:
        yield "Seen last 最后状态", result.reason
        yield "Settlement 单号", result.settlement.settlement_id if result.settlement else ""
        yield "What to do 请注意", _WHAT_TO_DO[result.operation]
    yield "Key 幂等键", result.idempotency_key


def _reversed_rows(result: Reversed) -> Iterator[tuple[str, str]]:
    if not result.arrived:
        yield "Original 原交易", "never arrived, and never can any more 未到达,已作废"
    if result.settlement is not None:
        yield "Settlement 单号", result.settlement.settlement_id
    if result.reversal is not None:
        yield "Reversal 冲正单号", result.reversal.reversal_id
        yield "Settlement 原单号", result.reversal.settlement_id or ""
        if result.reversal.returned is not None:
            yield "Given back 退回合计", money(result.reversal.returned.total_fen)
            yield from split_rows(result.reversal.returned)
    if not result.final:
        yield "Bank 银行", "is still being told; nothing is left to do at the till 银行冲正进行中"


def _refunded_rows(result: Refunded) -> Iterator[tuple[str, str]]:
    yield "Refund 退款单号", result.refund.refund_id
    yield "Settlement 原单号", result.refund.settlement_id
    yield "Given back 退回合计", money(result.refund.returned.total_fen)
    yield from split_rows(result.refund.returned)
    yield "GIVE BACK IN CASH 请退现金", money(result.cash_fen) if result.cash_fen else ""
    if not result.final:
        yield "Bank 银行", "is still being told; nothing is left to do at the till 银行退款进行中"
