-- The backward half of the saga: turning back an open settlement, reversing a settled one, and the claims of recovery.

create function turn_backward(p_keys saga_key[], p_cause text, p_now timestamptz) returns setof saga_key language plpgsql as $$
-- Decides backward, once and for ever, for settlements that are still open; the insurance holds are released with it, the
-- bank leg begins to be undone. An approval that is already durable is not turned back: recovery captures it. The persons
-- of p_keys must be locked.
declare
    turned saga_key[];
begin
    with moved as (
        update settlement s set decision = 'backward', decision_cause = p_cause, decided_at = p_now,
            decline_code = case p_cause when 'deadline' then 'BANK_TIMEOUT' else 'REVERSED_BY_TILL' end
        from unnest(p_keys) k
        where s.person_id = k.person_id and s.acceptance_date = k.acceptance_date and s.settlement_id = k.saga_id
          and s.decision = 'open'
          and exists (select from leg l where l.person_id = s.person_id and l.acceptance_date = s.acceptance_date
                      and l.saga_id = s.settlement_id and l.leg = 'bank' and l.state in ('intended', 'unknown'))
        returning s.person_id, s.acceptance_date, s.settlement_id)
    select array_agg((m.person_id, m.acceptance_date, m.settlement_id)::saga_key) into turned from moved m;
    if turned is null then
        return;
    end if;
    update leg l set state = 'undoing', cause = p_cause, moved_at = p_now, next_attempt_at = p_now
    from unnest(turned) k
    where l.person_id = k.person_id and l.acceptance_date = k.acceptance_date and l.saga_id = k.saga_id and l.leg = 'bank';
    perform end_holds(turned, 'voided', p_cause, p_now);
    perform release_line_claims(turned);
    insert into outbox_event
    select k.person_id, k.acceptance_date, k.saga_id, 'settlement.backward', p_now from unnest(turned) k;
    return query select k.person_id, k.acceptance_date, k.saga_id from unnest(turned) k;
end $$;

create function decide_backward(p_items jsonb, p_cause text, p_now timestamptz) returns setof saga_key language plpgsql as $$
-- turn_backward for a batch of keys from outside; answers which were turned now.
declare
    keys saga_key[];
begin
    keys := array(select r from jsonb_populate_recordset(null::saga_key, p_items) r);
    perform lock_persons(array(select k.person_id from unnest(keys) k));
    return query select * from turn_backward(keys, p_cause, p_now);
end $$;

create function record_undoing_answers(p_items jsonb, p_now timestamptz)
returns table (ord int, action text) language plpgsql as $$
-- Answers to 0400: 'undone' closes the leg; anything else says when to repeat it.
#variable_conflict use_column
begin
    return query
    with moved as (
        update leg l set
            state = case when r.outcome = 'undone' then 'undone' else l.state end,
            cause = case when r.outcome = 'undone' then r.cause else l.cause end,
            response_code = coalesce(r.response_code, l.response_code),
            moved_at = case when r.outcome = 'undone' then p_now else l.moved_at end,
            next_attempt_at = case when r.outcome = 'undone' then null else r.next_attempt_at end
        from jsonb_populate_recordset(null::bank_answer, p_items) r
        where l.person_id = r.person_id and l.acceptance_date = r.acceptance_date and l.saga_id = r.saga_id
          and l.leg = 'bank' and l.state = 'undoing' and (r.outcome = 'undone' or l.fence = r.fence)
        returning r.ord, l.state, l.person_id, l.acceptance_date, l.saga_id),
    told as (
        insert into outbox_event
        select m.person_id, m.acceptance_date, m.saga_id, 'settlement.undone', p_now from moved m where m.state = 'undone')
    select m.ord, m.state from moved m;
end $$;

create type reversal_request as (
    ord int, institution_id text, terminal_id text, idempotency_key text, body_digest bytea, undo_id uuid,
    person_id bigint, acceptance_date date, settlement_id uuid, reason text, verb text, requested_at timestamptz,
    posting_date date, lease_until timestamptz, worker text, key_expires_at timestamptz
);

create function reverse_settlement(r reversal_request)
returns table (outcome text, saga_id uuid) language plpgsql as $$
-- Takes one settlement back whole. Open: turned backward in place. Settled: a reversal saga that gives the insurance share
-- back at once and owes the bank share to the bank. Already taken back: the first answer, under whatever key it is asked.
#variable_conflict use_column
declare
    k  idempotency;
    s  settlement;
    b  leg;
    existing uuid;
    target   uuid;
begin
    perform lock_persons(array[r.person_id]);
    select * into k from idempotency i where i.institution_id = r.institution_id and i.idempotency_key = r.idempotency_key;
    if found then
        return query select case when k.operation = 'reversal' and k.body_digest = r.body_digest
                                 then 'known' else 'key_reused' end, k.saga_id;
        return;
    end if;
    select * into strict s from settlement t
    where t.person_id = r.person_id and t.acceptance_date = r.acceptance_date and t.settlement_id = r.settlement_id;
    select * into b from leg l where l.person_id = r.person_id and l.acceptance_date = r.acceptance_date
        and l.saga_id = r.settlement_id and l.leg = 'bank';
    select u.undo_id into existing from undo u where u.person_id = r.person_id and u.acceptance_date = r.acceptance_date
        and u.settlement_id = r.settlement_id and u.kind = 'reversal';

    if s.decision = 'open' and b.state = 'approved' then
        return query select 'capture_first', s.settlement_id;
        return;
    end if;
    if s.decision = 'open' then
        perform turn_backward(array[(r.person_id, r.acceptance_date, r.settlement_id)::saga_key], 'till_reversal', r.requested_at);
        target := s.settlement_id;
    elsif s.decision = 'backward' then
        target := s.settlement_id;
    elsif existing is not null then
        target := existing;
    else
        target := r.undo_id;
        perform open_reversal(r, s, b);
    end if;
    insert into idempotency values (r.institution_id, r.idempotency_key, 'reversal', r.body_digest, target, r.person_id,
                                    r.acceptance_date, r.requested_at, r.key_expires_at);
    return query select case when target = r.undo_id then 'opened' when s.decision = 'open' then 'turned' else 'known' end, target;
end $$;

create function open_reversal(r reversal_request, s settlement, b leg) returns void language plpgsql as $$
-- The reversal saga of a settled bill: reserves the whole bill, posts what is ours to give, states the intent to the bank.
declare
    n bigint;
begin
    update settlement t set returned_fen = t.bill_fen
    where t.person_id = s.person_id and t.acceptance_date = s.acceptance_date and t.settlement_id = s.settlement_id;

    insert into undo values (s.person_id, s.acceptance_date, r.undo_id, s.settlement_id, 'reversal', r.institution_id,
        r.terminal_id, r.idempotency_key, r.reason, r.requested_at, s.current_year_fen, s.carried_over_fen, s.bank_fen,
        s.cash_fen, r.posting_date);
    insert into saga_directory values (r.institution_id, r.undo_id, 'reversal', s.person_id, s.acceptance_date);

    if s.current_year_fen + s.carried_over_fen > 0 then
        insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at)
        values (s.person_id, s.acceptance_date, r.undo_id, 'insurance_return', 'posted', 'reversal',
                s.current_year_fen + s.carried_over_fen, r.requested_at);
        update insurance_accounts a set version = a.version + 1,
            current_year_posted_fen = a.current_year_posted_fen + s.current_year_fen,
            carried_over_posted_fen = a.carried_over_posted_fen + s.carried_over_fen
        where a.person_id = s.person_id;
    end if;
    insert into transfer
    select s.person_id, r.posting_date, r.undo_id, v.part, 'institution/' || s.institution_id, v.credit_account,
           v.amount_fen, s.acceptance_date, r.requested_at
    from (values ('current_year', 'person/current_year', s.current_year_fen),
                 ('carried_over', 'person/carried_over', s.carried_over_fen),
                 ('cash', 'cash/' || s.institution_id, s.cash_fen)) v (part, credit_account, amount_fen)
    where v.amount_fen > 0;
    perform release_line_claims(array[(s.person_id, s.acceptance_date, s.settlement_id)::saga_key]);
    insert into outbox_event values (s.person_id, s.acceptance_date, r.undo_id, 'reversal.opened', r.requested_at);

    if s.bank_fen > 0 then
        n := nextval('bank_reference_seq');
        insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at, bank_code, verb,
                         terminal_id, transmitted, trace, reference, attempts, fence, worker, next_attempt_at)
        values (s.person_id, s.acceptance_date, r.undo_id, 'bank_return', 'intended', 'reversal', s.bank_fen, r.requested_at,
                b.bank_code, r.verb, b.terminal_id, to_char(r.requested_at at time zone 'UTC', 'MMDDHH24MISS'),
                lpad((n % 1000000)::text, 6, '0'), lpad((n % 1000000000000)::text, 12, '0'), 1, 1, r.worker, r.lease_until);
    else
        insert into receipt values (s.person_id, s.acceptance_date, r.undo_id, 'reversal', r.posting_date, r.requested_at);
        insert into outbox_event values (s.person_id, s.acceptance_date, r.undo_id, 'reversal.reversed', r.requested_at);
    end if;
end $$;

create function request_reversals(p_items jsonb) returns table (ord int, outcome text, saga_id uuid) language plpgsql as $$
-- reverse_settlement for a batch, in the order of the persons, whose locks are taken first and together.
#variable_conflict use_column
declare
    items reversal_request[];
    item  reversal_request;
begin
    items := array(select r from jsonb_populate_recordset(null::reversal_request, p_items) r order by r.person_id, r.ord);
    perform lock_persons(array(select r.person_id from unnest(items) r));
    foreach item in array items loop
        return query select item.ord, v.outcome, v.saga_id from reverse_settlement(item) v;
    end loop;
end $$;

create function record_return_answers(p_items jsonb, p_now timestamptz)
returns table (ord int, action text) language plpgsql as $$
-- Answers to a void or refund. 'approved' closes the reversal; 'too_late' turns a void into a refund with an identity of its
-- own; 'refused' is kept, shown to operators and tried again; a reversal is never given up.
#variable_conflict use_column
declare
    items bank_answer[];
    closed saga_key[];
begin
    items := array(select r from jsonb_populate_recordset(null::bank_answer, p_items) r order by r.person_id, r.ord);
    perform lock_persons(array(select r.person_id from unnest(items) r));

    update leg l set
        state = case r.outcome when 'approved' then 'posted' when 'too_late' then 'intended'
                               when 'refused' then 'refused' else 'unknown' end,
        move_no = case when r.outcome in ('too_late', 'refused') then l.move_no + 1 else l.move_no end,
        cause = r.cause,
        verb = case r.outcome when 'too_late' then 'refund' else l.verb end,
        transmitted = case r.outcome when 'too_late' then to_char(p_now at time zone 'UTC', 'MMDDHH24MISS') else l.transmitted end,
        trace = case r.outcome when 'too_late' then lpad((i.n % 1000000)::text, 6, '0') else l.trace end,
        reference = case r.outcome when 'too_late' then lpad((i.n % 1000000000000)::text, 12, '0') else l.reference end,
        response_code = coalesce(r.response_code, l.response_code),
        authorisation = coalesce(r.authorisation, l.authorisation),
        bank_settlement_date = coalesce(r.settlement_date, l.bank_settlement_date),
        moved_at = p_now,
        next_attempt_at = case r.outcome when 'approved' then null else r.next_attempt_at end
    from unnest(items) r
    cross join lateral (select case when r.outcome = 'too_late' then nextval('bank_reference_seq') else 0 end as n) i
    where l.person_id = r.person_id and l.acceptance_date = r.acceptance_date and l.saga_id = r.saga_id
      and l.leg = 'bank_return' and l.state in ('intended', 'unknown', 'refused')
      and (r.outcome = 'approved' or l.fence = r.fence);

    closed := array(select (r.person_id, r.acceptance_date, r.saga_id)::saga_key
                    from unnest(items) r
                    join leg l on l.person_id = r.person_id and l.acceptance_date = r.acceptance_date
                              and l.saga_id = r.saga_id and l.leg = 'bank_return' and l.state = 'posted'
                    where r.outcome = 'approved'
                      and not exists (select from receipt x where x.person_id = r.person_id
                                      and x.acceptance_date = r.acceptance_date and x.saga_id = r.saga_id));
    insert into transfer
    select u.person_id, i.posting_date, u.undo_id, 'bank', 'institution/' || s.institution_id, 'bank/' || l.bank_code,
           u.bank_fen, u.acceptance_date, p_now
    from unnest(closed) k
    join undo u on u.person_id = k.person_id and u.acceptance_date = k.acceptance_date and u.undo_id = k.saga_id
    join settlement s on s.person_id = u.person_id and s.acceptance_date = u.acceptance_date and s.settlement_id = u.settlement_id
    join leg l on l.person_id = u.person_id and l.acceptance_date = u.acceptance_date and l.saga_id = u.undo_id
              and l.leg = 'bank_return'
    join unnest(items) i on i.saga_id = u.undo_id;
    insert into receipt
    select k.person_id, k.acceptance_date, k.saga_id, 'reversal', i.posting_date, p_now
    from unnest(closed) k join unnest(items) i on i.saga_id = k.saga_id;
    insert into outbox_event
    select k.person_id, k.acceptance_date, k.saga_id, 'reversal.reversed', p_now from unnest(closed) k;

    return query
    select r.ord, l.state from unnest(items) r
    join leg l on l.person_id = r.person_id and l.acceptance_date = r.acceptance_date and l.saga_id = r.saga_id
              and l.leg = 'bank_return';
end $$;

create function claim_due_legs(p_now timestamptz, p_worker text, p_lease_until timestamptz, p_limit int)
returns setof leg language sql as $$
-- Recovery's claim: legs that are due and that nobody holds. The fence rises, so the former holder may not act any more.
    update leg l set fence = l.fence + 1, worker = p_worker, attempts = l.attempts + 1, next_attempt_at = p_lease_until
    from (select person_id, acceptance_date, saga_id, leg from leg
          where next_attempt_at <= p_now
          order by next_attempt_at
          limit p_limit
          for update skip locked) d
    where l.person_id = d.person_id and l.acceptance_date = d.acceptance_date and l.saga_id = d.saga_id and l.leg = d.leg
    returning l.*;
$$;

create function settlement_state(p_decision text, p_bank_state text, p_reversal_state text) returns text
language sql immutable as $$
-- The state of a settlement, derived from the decision, the bank leg and its reversal (null: none). The one place that says so.
    select case
        when p_reversal_state = 'reversed' then 'reversed'
        when p_reversal_state is not null then 'reversing'
        when p_decision = 'forward' then 'settled'
        when p_decision = 'open' then 'pending'
        when p_bank_state = 'undoing' then 'reversing'
        when p_bank_state = 'undone' then 'reversed'
        else 'declined'
    end;
$$;

create view settlement_status as
select s.*, sb.lines, sb.parts,
       settlement_state(s.decision, b.state, case when u.undo_id is null then null
                                                 when r.saga_id is not null then 'reversed' else 'reversing' end) as state,
       b.state as bank_state, b.bank_code, b.amount_fen as bank_amount_fen, b.reference as bank_reference,
       b.authorisation as bank_authorisation, b.response_code as bank_response_code,
       u.undo_id as reversal_id,
       case when s.decision = 'forward' then s.settlement_id end as receipt_id
from settlement s
join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                       and sb.settlement_id = s.settlement_id
left join leg b on b.person_id = s.person_id and b.acceptance_date = s.acceptance_date and b.saga_id = s.settlement_id
               and b.leg = 'bank'
left join undo u on u.person_id = s.person_id and u.acceptance_date = s.acceptance_date
                and u.settlement_id = s.settlement_id and u.kind = 'reversal'
left join receipt r on r.person_id = u.person_id and r.acceptance_date = u.acceptance_date and r.saga_id = u.undo_id;
