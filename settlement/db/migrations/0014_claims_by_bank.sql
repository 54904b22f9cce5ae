-- Recovery claims bank by bank: a bank that already has its share of the legs under way is left out, so that one slow
-- bank never takes all of recovery's places. The share is the caller's; nobody left out is what it was.
drop function claim_due_legs(timestamptz, text, timestamptz, int);

create function claim_due_legs(p_now timestamptz, p_worker text, p_lease_until timestamptz, p_limit int,
                               p_full text[] default '{}')
returns setof leg language sql as $$
-- Recovery's claim: legs that are due and that nobody holds. The fence rises, so the former holder may not act any more.
    update leg l set fence = l.fence + 1, worker = p_worker, attempts = l.attempts + 1, next_attempt_at = p_lease_until
    from (select person_id, acceptance_date, saga_id, leg from leg
          where next_attempt_at <= p_now and bank_code <> all (p_full)
          order by next_attempt_at
          limit p_limit
          for update skip locked) d
    where l.person_id = d.person_id and l.acceptance_date = d.acceptance_date and l.saga_id = d.saga_id and l.leg = d.leg
    returning l.*;
$$;
