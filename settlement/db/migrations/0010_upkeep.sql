-- Upkeep: idempotency keys are remembered for a stated time, then forgotten in small steps.

create function forget_expired_keys(p_now timestamptz, p_limit int) returns int language plpgsql as $$
-- Forgets keys whose time is over, at most p_limit; a key whose settlement is still open is kept. Returns how many.
declare
    forgotten int;
begin
    with expired as (
        select i.institution_id, i.idempotency_key
        from idempotency i
        where i.expires_at <= p_now
          and not exists (select from leg l where l.person_id = i.person_id and l.acceptance_date = i.acceptance_date
                          and l.saga_id = i.saga_id and l.next_attempt_at is not null)
        order by i.expires_at
        limit p_limit
        for update of i skip locked)
    delete from idempotency i using expired e
    where i.institution_id = e.institution_id and i.idempotency_key = e.idempotency_key;
    get diagnostics forgotten = row_count;
    return forgotten;
end $$;
