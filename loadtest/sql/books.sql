-- name: settlements_of_run
-- Every settlement of a run (its visit numbers begin alike), as the ledger holds it.
select s.settlement_id::text, s.institution_id, s.terminal_id, s.idempotency_key, s.visit_no, s.decision, s.bill_fen,
       s.current_year_fen, s.carried_over_fen, s.bank_fen, s.cash_fen, s.returned_fen
from settlement s
where starts_with(s.visit_no, $1 || '-');

-- name: postings_of_run
-- What was posted for and against each settlement of a run, in fen by part: from the transfers themselves.
select s.settlement_id::text, x.part, sum(x.amount_fen)::bigint as amount_fen
from settlement s
join transfer x on x.person_id = s.person_id and x.saga_id = s.settlement_id
where starts_with(s.visit_no, $1 || '-')
group by s.settlement_id, x.part;
