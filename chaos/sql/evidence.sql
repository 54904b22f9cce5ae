-- name: bills_of_run
-- Every settlement of a run (its visit numbers begin alike), as the ledger has it in the end.
select v.settlement_id::text, v.idempotency_key as key, v.visit_no, v.state,
       v.decision = 'forward' and v.returned_fen = 0 as stands,
       v.bank_code as bank, v.bank_reference as reference
from settlement_status v
where starts_with(v.visit_no, $1 || '-');

-- name: doubts
-- Messages to banks whose outcome was in doubt for a while: no answer came in time, or whoever sent them was gone and
-- another claim carried them on. How long from the first durable step to rest, in ms.
select l.saga_id::text, l.leg, l.bank_code as bank, l.state, l.next_attempt_at is null as resolved,
       (extract(epoch from max(m.moved_at) - min(m.moved_at)) * 1000)::bigint as in_doubt_ms
from leg l
join leg_move m on m.person_id = l.person_id and m.acceptance_date = l.acceptance_date and m.saga_id = l.saga_id
               and m.leg = l.leg
where l.leg in ('bank', 'bank_return')
group by l.person_id, l.acceptance_date, l.saga_id, l.leg
having bool_or(m.to_state in ('unknown', 'undoing')) or max(m.fence) > min(m.fence)
order by in_doubt_ms desc;
