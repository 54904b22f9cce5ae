-- name: account_credit_v1
-- Money put on a person's account.
select tx, credited_at as happened_at, concat_ws('/', person_id, credit_id) as row_key,
       json_build_array('account_credit', 1, person_id, credit_id, account, amount_fen, reason, credited_at)::text as content
from account_credit

-- name: account_year_v1
-- The turn of a person's insurance year.
select tx, opened_at as happened_at, concat_ws('/', person_id, insurance_year) as row_key,
       json_build_array('account_year', 1, person_id, insurance_year, turn_id, rolled_fen, credited_fen, account_version,
                        freed_fen, credits_fen, posting_date, opened_at)::text as content
from account_year

-- name: account_year_sweep_v1
-- Money of older years carried over after the turn.
select tx, swept_at as happened_at, concat_ws('/', person_id, insurance_year, sweep_id) as row_key,
       json_build_array('account_year_sweep', 1, person_id, insurance_year, sweep_id, rolled_fen, posting_date,
                        swept_at)::text as content
from account_year_sweep

-- name: accumulator_move_v1
-- What a bill, or what takes it back, does to a counter.
select tx, moved_at as happened_at,
       concat_ws('/', person_id, acceptance_date, saga_id, cause, plan, insurance_year, counter) as row_key,
       json_build_array('accumulator_move', 1, person_id, acceptance_date, saga_id, cause, plan, insurance_year, counter,
                        settlement_id, fen, moved_at)::text as content
from accumulator_move

-- name: hold_v1
-- Money reserved for a bill.
select tx, held_at as happened_at, concat_ws('/', person_id, acceptance_date, saga_id, account) as row_key,
       json_build_array('hold', 1, person_id, acceptance_date, saga_id, account, amount_fen, held_at)::text as content
from hold

-- name: hold_end_v1
-- How a hold ended.
select tx, ended_at as happened_at, concat_ws('/', person_id, acceptance_date, saga_id, account) as row_key,
       json_build_array('hold_end', 1, person_id, acceptance_date, saga_id, account, outcome, ended_at)::text as content
from hold_end

-- name: leg_v1
-- What of a leg never changes; its state is the last of its moves, which are sealed too.
select tx, null::timestamptz as happened_at, concat_ws('/', person_id, acceptance_date, saga_id, leg) as row_key,
       json_build_array('leg', 1, person_id, acceptance_date, saga_id, leg, amount_fen, bank_code)::text as content
from leg

-- name: leg_move_v1
-- Each move of a leg with its cause.
select tx, moved_at as happened_at, concat_ws('/', person_id, acceptance_date, saga_id, leg, move_no) as row_key,
       json_build_array('leg_move', 1, person_id, acceptance_date, saga_id, leg, move_no, from_state, to_state, cause,
                        response_code, fence, moved_at)::text as content
from leg_move

-- name: outbox_event_v1
-- What others are told.
select tx, happened_at, concat_ws('/', person_id, acceptance_date, saga_id, event) as row_key,
       json_build_array('outbox_event', 1, person_id, acceptance_date, saga_id, event, happened_at)::text as content
from outbox_event

-- name: receipt_v1
-- The receipts given.
select tx, issued_at as happened_at, concat_ws('/', person_id, acceptance_date, saga_id) as row_key,
       json_build_array('receipt', 1, person_id, acceptance_date, saga_id, kind, posting_date, issued_at)::text as content
from receipt

-- name: settlement_v1
-- What of a settlement never changes. The bank's share may become cash, so their sum is sealed; the decision shows in moves,
-- transfers and receipt.
select tx, accepted_at as happened_at, concat_ws('/', person_id, acceptance_date, settlement_id) as row_key,
       json_build_array('settlement', 1, person_id, acceptance_date, settlement_id, institution_id, terminal_id, card_id,
                        idempotency_key, visit_no, visit_type, service_date, accepted_at, deadline_at, account_version,
                        bill_fen, own_expense_fen, current_year_fen, carried_over_fen, bank_fen + cash_fen, agreed,
                        on_bank_decline, consent)::text as content
from settlement

-- name: settlement_v2
-- With the funds' shares. What of a settlement never changes. The bank's share may become cash, so their sum is sealed; the decision shows in moves,
-- transfers and receipt.
select tx, accepted_at as happened_at, concat_ws('/', person_id, acceptance_date, settlement_id) as row_key,
       json_build_array('settlement', 2, person_id, acceptance_date, settlement_id, institution_id, terminal_id, card_id,
                        idempotency_key, visit_no, visit_type, service_date, accepted_at, deadline_at, account_version,
                        bill_fen, own_expense_fen, current_year_fen, carried_over_fen, bank_fen + cash_fen, agreed,
                        on_bank_decline, consent, pooled_fund_fen, additional_fund_fen, deposit_fen)::text as content
from settlement

-- name: settlement_bill_v1
-- The lines of a bill and who pays what of each.
select tx, null::timestamptz as happened_at, concat_ws('/', person_id, acceptance_date, settlement_id) as row_key,
       json_build_array('settlement_bill', 1, person_id, acceptance_date, settlement_id, lines, parts)::text as content
from settlement_bill

-- name: settlement_bill_v2
-- With what it was judged by.
select tx, null::timestamptz as happened_at, concat_ws('/', person_id, acceptance_date, settlement_id) as row_key,
       json_build_array('settlement_bill', 2, person_id, acceptance_date, settlement_id, lines, parts, policy)::text as content
from settlement_bill

-- name: transfer_v1
-- What was posted.
select tx, posted_at as happened_at, concat_ws('/', person_id, posting_date, saga_id, part) as row_key,
       json_build_array('transfer', 1, person_id, posting_date, saga_id, part, debit_account, credit_account, amount_fen,
                        acceptance_date, posted_at)::text as content
from transfer

-- name: undo_v1
-- What a reversal or refund takes back.
select tx, requested_at as happened_at, concat_ws('/', person_id, acceptance_date, undo_id) as row_key,
       json_build_array('undo', 1, person_id, acceptance_date, undo_id, settlement_id, kind, institution_id, terminal_id,
                        idempotency_key, reason, requested_at, current_year_fen, carried_over_fen, bank_fen, cash_fen,
                        posting_date)::text as content
from undo

-- name: undo_v2
-- With what goes back to the funds.
select tx, requested_at as happened_at, concat_ws('/', person_id, acceptance_date, undo_id) as row_key,
       json_build_array('undo', 2, person_id, acceptance_date, undo_id, settlement_id, kind, institution_id, terminal_id,
                        idempotency_key, reason, requested_at, current_year_fen, carried_over_fen, bank_fen, cash_fen,
                        posting_date, pooled_fund_fen, additional_fund_fen,
                        deposit_fen, own_expense_fen)::text as content
from undo

-- name: undo_line_v1
-- What an undo gives back of which line, to whom.
select tx, null::timestamptz as happened_at, concat_ws('/', person_id, acceptance_date, undo_id, line_no, payer) as row_key,
       json_build_array('undo_line', 1, person_id, acceptance_date, undo_id, line_no, payer, settlement_id,
                        amount_fen)::text as content
from undo_line

-- name: snapshot
-- What is committed as this transaction sees it.
select pg_current_snapshot()::text;

-- name: seals_after
-- The chain, a piece at a time.
select seal_no, previous_digest, snapshot, tables, root, signed_at, signer, signature
from seal where seal_no > $1 order by seal_no limit $2;

-- name: last_seal
select seal_no, previous_digest, snapshot, tables, root, signed_at, signer, signature
from seal order by seal_no desc limit 1;

-- name: one_seal
select seal_no, previous_digest, snapshot, tables, root, signed_at, signer, signature
from seal where seal_no = $1;

-- name: add_seal
insert into seal (seal_no, previous_digest, snapshot, tables, root, signed_at, signer, signature)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: add_leaves
insert into seal_leaf (seal_no, table_name, chunk_no, row_keys, hashes) values ($1, $2, $3, $4, $5);

-- name: first_leaves
-- The first chunk of a table in each of some seals: of most seals the only one.
select seal_no, row_keys, hashes from seal_leaf
where seal_no between $1 and $2 and table_name = $3 and chunk_no = 0;

-- name: leaves
select row_keys, hashes from seal_leaf where seal_no = $1 and table_name = $2 and chunk_no = $3;

-- name: last_leaves
-- The newest seal that leaves are kept of: one of which the seal is gone was removed.
select max(seal_no) from seal_leaf;
