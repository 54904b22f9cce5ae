"""Flaws such as a tired engineer might write, each to be planted alone; the simulation has to find every one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from settlement.banks.port import BankAnswer, BankOrder, BankOutcome
from settlement.banks.router import BankLinks
from settlement.db.batcher import Batcher
from settlement.db.outages import REFUSALS, refused
from settlement.engine.bank_legs import BankLegs, Pin
from settlement.ledger.ledger import Ledger
from settlement.ledger.records import BankLeg, UndoOrder, UndoVerdict
from settlement.policy.split import Balances, split_bill
from settlement.simulation import Plant, Rewrite
from terminal_sdk.wire import FeeLine, Split

_APPROVED = BankAnswer(outcome=BankOutcome.APPROVED, response_code="00", authorisation="000000")
_NOT_FOUND = BankAnswer(outcome=BankOutcome.NOT_FOUND, response_code="25")
_link_debit = BankLinks.debit
_leg_debit = BankLegs.debit
_find_out = BankLegs._find_out
_until_taken = Batcher._run_until_taken
_undo = Ledger.request_undo


# the forward half


async def _debit_again(self: Any, order: BankOrder, send_before: float) -> BankAnswer:
    answer = await _link_debit(self, order, send_before)
    if answer.outcome is BankOutcome.UNKNOWN:
        trace = f"{(int(order.identity.trace) + 500_000) % 1_000_000:06d}"
        identity = replace(order.identity, trace=trace, reference=f"9{order.identity.reference[1:]}")
        answer = await _link_debit(self, replace(order, identity=identity), send_before + 60.0)
    return answer


async def _captured_unasked(self: Any, leg: BankLeg, pin: Pin | None, send_before: float) -> None:
    await self._capture(leg, _APPROVED)
    await _leg_debit(self, leg, pin, send_before)


async def _declined(self: Any, leg: BankLeg, answer: BankAnswer) -> None:
    await self._record(leg, answer, "declined", "no_answer", "BANK_UNAVAILABLE")


async def _not_found_is_a_decline(self: Any, leg: BankLeg, send_before: float) -> None:
    if self._bank(leg).offers_inquiry:
        answer = await self._banks.inquire(self._order(leg), send_before)
        if answer.outcome is BankOutcome.NOT_FOUND:
            await self._record(leg, answer, "declined", "inquiry", "BANK_DECLINED")
            return
    await _find_out(self, leg, send_before)


async def _intended_was_never_sent(self: Any, leg: BankLeg, send_before: float) -> None:
    if leg.state == "intended":
        await self._record(leg, _NOT_FOUND, "declined", "not_sent:crash", "BANK_UNAVAILABLE")
        return
    await _find_out(self, leg, send_before)


async def _certain_of_the_last_try(
    self: Any, batch: Any, again: tuple[type[Exception], ...], doubts: list[Exception]
) -> None:
    try:
        await _until_taken(self, batch, again, doubts)
    except Exception as error:
        if isinstance(error.__cause__, REFUSALS):
            raise refused(error.__cause__) from error
        raise


def _half_of_the_account(lines: list[FeeLine], balances: Balances, remainder: Any) -> Split:
    return split_bill(lines, replace(balances, current_year_fen=balances.current_year_fen // 2), remainder)


FORWARD = (
    Plant(
        name="the hold is skipped",
        rewrites=(
            Rewrite(
                function="hold_settlements", text="where r.bank_fen > 0 and h.amount_fen > 0", instead="where false"
            ),
            Rewrite(
                function="hold_settlements",
                text="case when r.bank_fen > 0 then r.current_year_fen else 0 end,",
                instead="0,",
            ),
            Rewrite(
                function="hold_settlements",
                text="case when r.bank_fen > 0 then r.carried_over_fen else 0 end,",
                instead="0,",
            ),
        ),
    ),
    Plant(
        name="the hold is judged by balances of yesterday",
        rewrites=(
            Rewrite(function="judge_holds", text="when a.version <> r.account_version then 'stale'", instead=""),
        ),
    ),
    Plant(
        name="insurance pays from half of what it has",
        patches=(("settlement.engine.splitting", "split_bill", _half_of_the_account),),
    ),
    Plant(
        name="two bills may count at once",
        rewrites=(
            Rewrite(
                function="judge_holds",
                text="when a.counting_settlement is not null and r.moved <> '[]' then 'busy'",
                instead="",
            ),
        ),
    ),
    Plant(
        name="counters stay when a bill is turned back",
        rewrites=(
            Rewrite(
                function="end_holds",
                text="perform give_back_counters(k, k.saga_id, 'release', null, p_now);",
                instead="null;",
            ),
        ),
    ),
    Plant(
        name="counters stay when a bill is given back",
        rewrites=(
            Rewrite(
                function="open_undo",
                text="r.undo_id, r.kind, r.counters,",
                instead="r.undo_id, r.kind, '[]',",
            ),
        ),
    ),
    Plant(
        name="the fund does not get its share of an undo",
        rewrites=(
            Rewrite(
                function="open_undo",
                text="('additional_fund', 'fund/additional', u.additional_fund_fen)",
                instead="('additional_fund', 'fund/additional', 0::bigint)",
            ),
        ),
    ),
    Plant(
        name="a refusal after a lost COMMIT is said to be nothing begun",
        patches=((Batcher, "_run_until_taken", _certain_of_the_last_try),),
    ),
    Plant(name="a debit without an answer is sent again as a new one", patches=((BankLinks, "debit", _debit_again),)),
    Plant(name="captured before the bank has approved", patches=((BankLegs, "debit", _captured_unasked),)),
    Plant(
        name="released on a time-out: no answer is taken for a decline", patches=((BankLegs, "_in_doubt", _declined),)
    ),
    Plant(name="not found is taken for a decline", patches=((BankLegs, "_find_out", _not_found_is_a_decline),)),
    Plant(
        name="after a crash, a debit is believed never sent",
        patches=((BankLegs, "_find_out", _intended_was_never_sent),),
    ),
    Plant(
        name="an approval that comes twice is captured twice",
        rewrites=(
            Rewrite(
                function="judge_debit_answers",
                text="s.decision = 'open' and l.state in ('intended', 'unknown', 'approved') then 'capture'",
                instead="s.decision in ('open', 'forward') then 'capture'",
            ),
        ),
    ),
    Plant(
        name="the capture does not charge the account",
        rewrites=(
            Rewrite(
                function="end_holds",
                text="- case when p_outcome = 'posted' then t.current_year_fen else 0 end",
                instead="- 0",
            ),
        ),
    ),
    Plant(
        name="lines may be settled under two keys",
        rewrites=(
            Rewrite(
                function="judge_holds", text="when claimed.settlement_id is not null then 'already_settled'", instead=""
            ),
            Rewrite(
                function="hold_settlements",
                text="from unnest(accepted) r cross join jsonb_array_elements(r.lines) l;",
                instead="from unnest(accepted) r cross join jsonb_array_elements(r.lines) l on conflict do nothing;",
            ),
        ),
    ),
    Plant(
        name="recovery overlooks what is in doubt",
        rewrites=(
            Rewrite(
                function="claim_due_legs",
                text="where next_attempt_at <= p_now",
                instead="where state <> 'unknown' and next_attempt_at <= p_now",
            ),
        ),
    ),
)


# the backward half


async def _one_reversal_is_enough(self: Any, leg: BankLeg, send_before: float) -> None:
    answer = await self._banks.reverse(self._order(leg), send_before)
    await self._undone(leg, answer, "reversal_acknowledged")


async def _nothing_to_tell_the_bank(self: Any, leg: BankLeg, send_before: float) -> None:
    await self._undone(leg, _NOT_FOUND, "nothing_to_reverse")


def _every_refusal_counts(self: Any, leg: BankLeg) -> bool:
    return True


async def _return_taken_for_done(self: Any, leg: BankLeg, send_before: float) -> None:
    send = self._banks.refund if leg.verb == "refund" else self._banks.void
    answer = await send(self._order(leg), send_before)
    await self._ledger.record_return_answer(
        self._evidence(leg, answer, "approved", "bank_returned", None), self._clock.now()
    )


async def _undo_under_another_key(self: Any, order: UndoOrder) -> UndoVerdict:
    if order.kind == "refund":
        order = msgspec.structs.replace(order, idempotency_key=str(order.undo_id))
    return await _undo(self, order)


BACKWARD = (
    Plant(
        name="holds stay when a bill is turned back",
        sql="""create or replace function end_holds(p_keys saga_key[], p_outcome text, p_cause text, p_now timestamptz)
               returns void language sql as 'select'""",
    ),
    Plant(
        name="the tombstone is forgotten",
        rewrites=(
            Rewrite(
                function="bury_key",
                text="if original.operation <> 'tombstone' then",
                instead="""if original.operation = 'tombstone' then
                               delete from idempotency i where i.institution_id = p_institution_id
                                   and i.idempotency_key = p_original_key;
                           else""",
            ),
        ),
    ),
    Plant(
        name="the reversal of an open bill is said and not done",
        rewrites=(
            Rewrite(
                function="reverse_settlement",
                text="perform turn_backward(array[(r.person_id, r.acceptance_date, r.settlement_id)::saga_key], "
                "'till_reversal', r.requested_at);",
                instead="",
            ),
        ),
    ),
    Plant(
        name="the bank is not told of a bill turned back", patches=((BankLegs, "_reverse", _nothing_to_tell_the_bank),)
    ),
    Plant(name="one 0400 is enough, answered or not", patches=((BankLegs, "_reverse", _one_reversal_is_enough),)),
    Plant(
        name="a bank that forgets refusals is believed at once",
        patches=((BankLegs, "_refusal_counts", _every_refusal_counts),),
    ),
    Plant(
        name="a late approval is captured after the decision for backward",
        rewrites=(
            Rewrite(
                function="judge_debit_answers",
                text="when r.outcome = 'approved' and l.state = 'undoing' then 'late'",
                instead="when r.outcome = 'approved' and l.state = 'undoing' then 'capture'",
            ),
        ),
    ),
    Plant(name="any answer to a void or refund is a yes", patches=((BankLegs, "_give_back", _return_taken_for_done),)),
    Plant(
        name="the bank's share of an undo stays at the bank",
        rewrites=(Rewrite(function="open_undo", text="if u.bank_fen > 0 then", instead="if false then"),),
    ),
    Plant(
        name="an undo pays into the wrong account",
        rewrites=(
            Rewrite(
                function="open_undo",
                text="a.current_year_posted_fen + u.current_year_fen",
                instead="a.current_year_posted_fen",
            ),
            Rewrite(
                function="open_undo",
                text="a.carried_over_posted_fen + u.carried_over_fen",
                instead="a.carried_over_posted_fen + u.carried_over_fen + u.current_year_fen",
            ),
        ),
    ),
    Plant(
        name="a refund of a part gives back the whole line",
        rewrites=(
            Rewrite(
                function="refund_shares",
                text="least(k.left_fen, coalesce(w.amount_fen, k.line_left) - k.before_fen)",
                instead="k.left_fen",
            ),
        ),
    ),
    Plant(name="a refund asked for again is given again", patches=((Ledger, "request_undo", _undo_under_another_key),)),
    Plant(
        name="a void that comes too late is not tried as a refund",
        rewrites=(
            Rewrite(
                function="record_return_answers",
                text="when 'too_late' then 'intended'",
                instead="when 'too_late' then 'posted'",
            ),
        ),
    ),
)

FLAWS = (*FORWARD, *BACKWARD)
