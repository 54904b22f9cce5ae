-- name: hold_settlements
-- Hold a batch; one verdict per item, in order.
select outcome, settlement_id, person_id, acceptance_date
from hold_settlements($1::text::jsonb);

-- name: record_debit_answers
-- Make answers to debits and inquiries durable and draw the consequence.
select action from record_debit_answers($1::text::jsonb, $2);

-- name: record_undoing_answers
-- Make answers to 0400 durable.
select ord, action from record_undoing_answers($1::text::jsonb, $2);

-- name: record_return_answers
-- Make answers to voids and refunds durable.
select ord, action from record_return_answers($1::text::jsonb, $2);

-- name: note_approvals
-- Keep a bare approval when the capture cannot commit.
select note_approvals($1::text::jsonb, $2);

-- name: decide_backward
-- Turn open settlements back, for good.
select person_id, acceptance_date, saga_id from decide_backward($1::text::jsonb, $2, $3);

-- name: request_undos
-- Take settlements back, whole or line by line; one outcome per item, in order.
select outcome, saga_id, line_no, left_fen from request_undos($1::text::jsonb) order by ord;

-- name: bury_key
-- Remember a reversal whose original has not arrived.
select outcome, saga_id from bury_key($1, $2, $3, $4, $5, $6, $7);

-- name: find_keys
-- What these idempotency keys were used for; arrays of institution and key.
select r.ord, i.operation, i.body_digest, i.saga_id, i.person_id, i.acceptance_date
from unnest($1::text[], $2::text[]) with ordinality as r (institution_id, idempotency_key, ord)
join idempotency i on i.institution_id = r.institution_id and i.idempotency_key = r.idempotency_key;

-- name: find_saga
-- Where a settlement, reversal or refund of this institution lives.
select kind, person_id, acceptance_date from saga_directory where institution_id = $1 and saga_id = $2;

-- name: settlement_statuses
-- Settlements of one acceptance date as the outside sees them; arrays of person and id. The date is a value of its own,
-- so that only its partitions are opened; offset 0: each is looked up for its item, by key.
select k.ord, s.*
from unnest($1::bigint[], $3::uuid[]) with ordinality as k (person_id, saga_id, ord)
cross join lateral (
    select x.* from settlement_status x
    where x.person_id = k.person_id and x.acceptance_date = $2::date and x.settlement_id = k.saga_id
    offset 0) s;

-- name: undo_status
-- One reversal or refund as the outside sees it; lines: what it gives back of which line, to whom.
select u.person_id, u.acceptance_date, u.undo_id, u.settlement_id, u.kind, u.idempotency_key, u.pooled_fund_fen,
       u.additional_fund_fen, u.current_year_fen, u.carried_over_fen, u.deposit_fen, u.bank_fen, u.cash_fen, r.issued_at, b.state as bank_state, b.bank_code, b.reference as bank_reference,
       b.authorisation as bank_authorisation, b.response_code as bank_response_code, g.parts,
       undo_own_expense(u.person_id, u.acceptance_date, u.undo_id) as own_expense_fen
from undo u
left join receipt r on r.person_id = u.person_id and r.acceptance_date = u.acceptance_date and r.saga_id = u.undo_id
left join leg b on b.person_id = u.person_id and b.acceptance_date = u.acceptance_date and b.saga_id = u.undo_id
               and b.leg = 'bank_return'
cross join lateral undo_parts(u.person_id, u.acceptance_date, u.undo_id) g (parts)
where u.person_id = $1 and u.acceptance_date = $2 and u.undo_id = $3;

-- name: refund_facts
-- What a refund of a bill that a plan judged is worked out from; no row where none did.
select returned_fen, bank_fen, deposit_fen, policy, shares, moved from refund_facts($1, $2, $3);

-- name: receipt_facts
-- Everything a receipt shows but the patient's name; $3 is the settlement, reversal or refund. An undo shows what it gave
-- back, of the lines of which it gave something back.
select x.kind, x.posting_date, x.issued_at, coalesce(u.settlement_id, x.saga_id) as settlement_id,
       coalesce(u.terminal_id, s.terminal_id) as terminal_id, s.institution_id, i.name as institution_name,
       s.visit_no, s.service_date,
       case when u.undo_id is null then s.bill_fen
            else u.pooled_fund_fen + u.additional_fund_fen + u.current_year_fen + u.carried_over_fen + u.deposit_fen
                 + u.bank_fen + u.cash_fen
       end as bill_fen,
       case when u.undo_id is null then s.own_expense_fen else undo_own_expense(u.person_id, u.acceptance_date, u.undo_id) end
           as own_expense_fen,
       coalesce(u.pooled_fund_fen, s.pooled_fund_fen) as pooled_fund_fen,
       coalesce(u.additional_fund_fen, s.additional_fund_fen) as additional_fund_fen,
       coalesce(u.current_year_fen, s.current_year_fen) as current_year_fen,
       coalesce(u.carried_over_fen, s.carried_over_fen) as carried_over_fen,
       coalesce(u.deposit_fen, s.deposit_fen) as deposit_fen,
       coalesce(u.bank_fen, s.bank_fen) as bank_fen, coalesce(u.cash_fen, s.cash_fen) as cash_fen,
       s.bank_notice, s.consent, sb.policy,
       case when u.undo_id is null then sb.lines else undo_lines(u.person_id, u.acceptance_date, u.undo_id) end as lines,
       case when u.undo_id is null then sb.parts else undo_parts(u.person_id, u.acceptance_date, u.undo_id) end as parts,
       c.card_number_sealed, s.person_id, s.card_id,
       b.bank_code, b.state as bank_state, b.amount_fen as bank_amount_fen, b.reference as bank_reference,
       b.authorisation as bank_authorisation, b.response_code as bank_response_code
from receipt x
left join undo u on u.person_id = x.person_id and u.acceptance_date = x.acceptance_date and u.undo_id = x.saga_id
join settlement s on s.person_id = x.person_id and s.acceptance_date = x.acceptance_date
                 and s.settlement_id = coalesce(u.settlement_id, x.saga_id)
join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                       and sb.settlement_id = s.settlement_id
join institution i on i.institution_id = s.institution_id
join card c on c.person_id = s.person_id and c.card_id = s.card_id
left join leg b on b.person_id = x.person_id and b.acceptance_date = x.acceptance_date and b.saga_id = x.saga_id
               and b.leg in ('bank', 'bank_return')
where x.person_id = $1 and x.acceptance_date = $2 and x.saga_id = $3;

-- name: claim_due_legs
-- Recovery's claim (rule 9), with all that is needed to act; $5 are banks that have enough under way.
select l.*, s.institution_id, s.decision, s.accepted_at, s.deadline_at, s.decided_at, s.card_id, c.pan_sealed,
       o.transmitted as original_transmitted, o.trace as original_trace, o.reference as original_reference
from claim_due_legs($1, $2, $3, $4, $5) l
left join undo u on u.person_id = l.person_id and u.acceptance_date = l.acceptance_date and u.undo_id = l.saga_id
join settlement s on s.person_id = l.person_id and s.acceptance_date = l.acceptance_date
                 and s.settlement_id = coalesce(u.settlement_id, l.saga_id)
join leg o on o.person_id = l.person_id and o.acceptance_date = l.acceptance_date and o.saga_id = s.settlement_id
          and o.leg = 'bank'
join card c on c.person_id = s.person_id and c.card_id = s.card_id;

-- name: takes_writes
-- Whether this server takes writes: no standby, and not set read-only.
select current_setting('transaction_read_only') = 'off';

-- name: bank_leg
-- One bank leg with all that is needed to act, as the worker that has just written it sees it.
select l.*, s.institution_id, s.decision, s.accepted_at, s.deadline_at, s.decided_at, s.card_id, c.pan_sealed,
       o.transmitted as original_transmitted, o.trace as original_trace, o.reference as original_reference
from leg l
left join undo u on u.person_id = l.person_id and u.acceptance_date = l.acceptance_date and u.undo_id = l.saga_id
join settlement s on s.person_id = l.person_id and s.acceptance_date = l.acceptance_date
                 and s.settlement_id = coalesce(u.settlement_id, l.saga_id)
join leg o on o.person_id = l.person_id and o.acceptance_date = l.acceptance_date and o.saga_id = s.settlement_id
          and o.leg = 'bank'
join card c on c.person_id = s.person_id and c.card_id = s.card_id
where l.person_id = $1 and l.acceptance_date = $2 and l.saga_id = $3 and l.leg = $4;

-- name: find_debit
-- The leg of a debit by the whole identity of its message (rule 11): for an answer that came when nobody waited any more.
select person_id, acceptance_date, saga_id
from leg
where reference = $1 and bank_code = $2 and terminal_id = $3 and transmitted = $4 and trace = $5 and leg = 'bank';
