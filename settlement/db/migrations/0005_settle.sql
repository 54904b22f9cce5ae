-- The forward half of the saga: hold, capture, decline. One function per state change, each for a batch, set-based.
-- A person's row in insurance_accounts is the lock of that person; every function takes the locks in the order of person_id.

create type saga_key as (person_id bigint, acceptance_date date, saga_id uuid);

create type settlement_request as (
    ord int, person_id bigint, acceptance_date date, settlement_id uuid, institution_id text, terminal_id text,
    card_id bigint, card_counter bigint, idempotency_key text, body_digest bytea, visit_no text, visit_type text,
    service_date date, accepted_at timestamptz, deadline_at timestamptz, account_version bigint,
    bill_fen bigint, own_expense_fen bigint, current_year_fen bigint, carried_over_fen bigint, bank_fen bigint,
    cash_fen bigint, lines jsonb, parts jsonb, agreed text, on_bank_decline text, bank_notice text, bank_code text,
    issuer text, posting_date date, lease_until timestamptz, worker text, key_expires_at timestamptz
);

create type hold_verdict as (
    ord int, outcome text, settlement_id uuid, person_id bigint, acceptance_date date,
    account_version bigint, current_year_fen bigint, carried_over_fen bigint
);

comment on type settlement_request is 'issuer: the bank of the card; bank_code: over whose link it is asked (its own, or the switch).';

create function lock_persons(p_person_ids bigint[]) returns void language sql as $$
    select from insurance_accounts where person_id = any (p_person_ids) order by person_id for update;
$$;

create function post_settlements(p_keys saga_key[], p_now timestamptz) returns void language plpgsql as $$
-- Double entry, receipt and event of settlements whose decision has just become forward.
begin
    insert into transfer
    select s.person_id, s.posting_date, s.settlement_id, v.part, v.debit_account,
           'institution/' || s.institution_id, v.amount_fen, s.acceptance_date, p_now
    from unnest(p_keys) k
    join settlement s on s.person_id = k.person_id and s.acceptance_date = k.acceptance_date and s.settlement_id = k.saga_id
    left join leg b on b.person_id = k.person_id and b.acceptance_date = k.acceptance_date and b.saga_id = k.saga_id
                   and b.leg = 'bank'
    cross join lateral (values
        ('current_year', 'person/current_year', s.current_year_fen),
        ('carried_over', 'person/carried_over', s.carried_over_fen),
        ('bank', 'bank/' || b.bank_code, s.bank_fen),
        ('cash', 'cash/' || s.institution_id, s.cash_fen)) v (part, debit_account, amount_fen)
    where v.amount_fen > 0;

    insert into receipt
    select s.person_id, s.acceptance_date, s.settlement_id, 'settlement', s.posting_date, p_now
    from unnest(p_keys) k
    join settlement s on s.person_id = k.person_id and s.acceptance_date = k.acceptance_date and s.settlement_id = k.saga_id;

    insert into outbox_event
    select k.person_id, k.acceptance_date, k.saga_id, 'settlement.settled', p_now from unnest(p_keys) k;
end $$;

create function end_holds(p_keys saga_key[], p_outcome text, p_cause text, p_now timestamptz) returns void language plpgsql as $$
-- Ends the holds of these sagas, posted or voided; the key of hold_end lets each end once. The persons are locked already.
begin
    insert into hold_end
    select h.person_id, h.acceptance_date, h.saga_id, h.account, p_outcome, p_now
    from unnest(p_keys) k
    join hold h on h.person_id = k.person_id and h.acceptance_date = k.acceptance_date and h.saga_id = k.saga_id;

    update insurance_accounts a set
        version = a.version + 1,
        current_year_held_fen = a.current_year_held_fen - t.current_year_fen,
        carried_over_held_fen = a.carried_over_held_fen - t.carried_over_fen,
        current_year_posted_fen = a.current_year_posted_fen - case when p_outcome = 'posted' then t.current_year_fen else 0 end,
        carried_over_posted_fen = a.carried_over_posted_fen - case when p_outcome = 'posted' then t.carried_over_fen else 0 end
    from (select h.person_id,
                 coalesce(sum(h.amount_fen) filter (where h.account = 'current_year'), 0) as current_year_fen,
                 coalesce(sum(h.amount_fen) filter (where h.account = 'carried_over'), 0) as carried_over_fen
          from unnest(p_keys) k
          join hold h on h.person_id = k.person_id and h.acceptance_date = k.acceptance_date and h.saga_id = k.saga_id
          group by h.person_id) t
    where a.person_id = t.person_id;

    update leg l set state = case when p_outcome = 'posted' then 'posted' else 'released' end, cause = p_cause, moved_at = p_now
    from unnest(p_keys) k
    where l.person_id = k.person_id and l.acceptance_date = k.acceptance_date and l.saga_id = k.saga_id and l.leg = 'insurance';
end $$;

create function release_line_claims(p_keys saga_key[]) returns void language sql as $$
-- A bill that was not paid, or was taken back, may be settled again under a new key.
    delete from line_claim c
    using unnest(p_keys) k
    join settlement s on s.person_id = k.person_id and s.acceptance_date = k.acceptance_date and s.settlement_id = k.saga_id
    where c.institution_id = s.institution_id and c.visit_no = s.visit_no and c.settlement_id = s.settlement_id;
$$;

create function judge_holds(p_items settlement_request[]) returns setof hold_verdict language sql stable as $$
-- What may be held, and why not. A known key is recognised before anything else is judged; one bill per person and batch.
    select r.ord,
           case
               when k.operation = 'tombstone' then 'tombstoned'
               when k.operation = 'settlement' and k.body_digest = r.body_digest then 'known'
               when k.operation is not null then 'key_reused'
               when row_number() over (partition by r.person_id order by r.ord) > 1
                 or row_number() over (partition by r.institution_id, r.idempotency_key order by r.ord) > 1 then 'again'
               when c.card_id is null or c.life <> 'issued' or c.social <> 'active' or c.certificate_revoked_at is not null
                 or (r.bank_fen > 0 and (c.financial <> 'active' or c.bank_code is distinct from r.issuer))
               then 'card_changed'
               when r.card_counter is not null and r.card_counter <= c.last_counter then 'counter_replayed'
               when claimed.settlement_id is not null then 'already_settled'
               when a.version <> r.account_version then 'stale'
               else 'held'
           end,
           coalesce(k.saga_id, claimed.settlement_id, r.settlement_id),
           coalesce(k.person_id, r.person_id),
           coalesce(k.acceptance_date, r.acceptance_date),
           a.version,
           a.current_year_posted_fen - a.current_year_held_fen,
           a.carried_over_posted_fen - a.carried_over_held_fen
    from unnest(p_items) r
    join insurance_accounts a on a.person_id = r.person_id
    left join card c on c.person_id = r.person_id and c.card_id = r.card_id
    left join idempotency k on k.institution_id = r.institution_id and k.idempotency_key = r.idempotency_key
    left join lateral (
        select lc.settlement_id from line_claim lc
        where lc.institution_id = r.institution_id and lc.visit_no = r.visit_no
          and lc.line_no in (select (l ->> 'line_no')::int from jsonb_array_elements(r.lines) l)
        limit 1) claimed on true;
$$;

create function hold_settlements(p_items jsonb)
returns table (ord int, outcome text, settlement_id uuid, person_id bigint, acceptance_date date,
               account_version bigint, current_year_fen bigint, carried_over_fen bigint,
               transmitted text, trace text, reference text)
language plpgsql as $$
-- Rule 4 of the way: one transaction for key, holds and the bank leg with its intent to send. A bill that needs no bank is
-- posted in the same transaction. Items judged otherwise than 'held' change nothing.
#variable_conflict use_column
declare
    items    settlement_request[];
    verdicts hold_verdict[];
    accepted settlement_request[];
    finished saga_key[];
begin
    items := array(select r from jsonb_populate_recordset(null::settlement_request, p_items) r order by r.person_id, r.ord);
    perform lock_persons(array(select r.person_id from unnest(items) r));
    verdicts := array(select v from judge_holds(items) v);
    accepted := array(select r from unnest(items) r join unnest(verdicts) v on v.ord = r.ord where v.outcome = 'held');

    insert into idempotency
    select r.institution_id, r.idempotency_key, 'settlement', r.body_digest, r.settlement_id, r.person_id,
           r.acceptance_date, r.accepted_at, r.key_expires_at
    from unnest(accepted) r;

    insert into saga_directory
    select r.institution_id, r.settlement_id, 'settlement', r.person_id, r.acceptance_date from unnest(accepted) r;

    insert into line_claim
    select r.institution_id, r.visit_no, (l ->> 'line_no')::int, r.settlement_id
    from unnest(accepted) r cross join jsonb_array_elements(r.lines) l;

    update card c set last_counter = r.card_counter
    from unnest(accepted) r
    where r.card_counter is not null and c.person_id = r.person_id and c.card_id = r.card_id;

    insert into settlement (person_id, acceptance_date, settlement_id, institution_id, terminal_id, card_id,
        idempotency_key, visit_no, visit_type, service_date, accepted_at, deadline_at, account_version, bill_fen,
        own_expense_fen, current_year_fen, carried_over_fen, bank_fen, cash_fen, agreed, on_bank_decline, bank_notice,
        decision, decision_cause, decided_at, posting_date)
    select r.person_id, r.acceptance_date, r.settlement_id, r.institution_id, r.terminal_id, r.card_id,
        r.idempotency_key, r.visit_no, r.visit_type, r.service_date, r.accepted_at, r.deadline_at, r.account_version,
        r.bill_fen, r.own_expense_fen, r.current_year_fen, r.carried_over_fen, r.bank_fen, r.cash_fen, r.agreed,
        r.on_bank_decline, r.bank_notice,
        case when r.bank_fen > 0 then 'open' else 'forward' end,
        case when r.bank_fen > 0 then null else 'no_bank_part' end,
        case when r.bank_fen > 0 then null else r.accepted_at end,
        case when r.bank_fen > 0 then null else r.posting_date end
    from unnest(accepted) r;

    insert into settlement_bill
    select r.person_id, r.acceptance_date, r.settlement_id, r.lines, r.parts from unnest(accepted) r;

    insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at)
    select r.person_id, r.acceptance_date, r.settlement_id, 'insurance',
           case when r.bank_fen > 0 then 'held' else 'posted' end,
           case when r.bank_fen > 0 then 'hold' else 'no_bank_part' end,
           r.current_year_fen + r.carried_over_fen, r.accepted_at
    from unnest(accepted) r where r.current_year_fen + r.carried_over_fen > 0;

    insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at, bank_code, verb,
                     terminal_id, transmitted, trace, reference, attempts, fence, worker, next_attempt_at)
    select r.person_id, r.acceptance_date, r.settlement_id, 'bank', 'intended', 'hold', r.bank_fen, r.accepted_at,
           r.bank_code, 'debit', r.terminal_id, to_char(r.accepted_at at time zone 'UTC', 'MMDDHH24MISS'),
           lpad((r.n % 1000000)::text, 6, '0'), lpad((r.n % 1000000000000)::text, 12, '0'), 1, 1, r.worker, r.lease_until
    from (select a.*, nextval('bank_reference_seq') as n from unnest(accepted) a where a.bank_fen > 0) r;

    insert into hold
    select r.person_id, r.acceptance_date, r.settlement_id, h.account, h.amount_fen, r.accepted_at
    from unnest(accepted) r
    cross join lateral (values ('current_year', r.current_year_fen), ('carried_over', r.carried_over_fen)) h (account, amount_fen)
    where r.bank_fen > 0 and h.amount_fen > 0;

    update insurance_accounts a set
        version = a.version + 1,
        current_year_held_fen = a.current_year_held_fen + case when r.bank_fen > 0 then r.current_year_fen else 0 end,
        carried_over_held_fen = a.carried_over_held_fen + case when r.bank_fen > 0 then r.carried_over_fen else 0 end,
        current_year_posted_fen = a.current_year_posted_fen - case when r.bank_fen > 0 then 0 else r.current_year_fen end,
        carried_over_posted_fen = a.carried_over_posted_fen - case when r.bank_fen > 0 then 0 else r.carried_over_fen end
    from unnest(accepted) r
    where a.person_id = r.person_id;

    finished := array(select (r.person_id, r.acceptance_date, r.settlement_id)::saga_key
                      from unnest(accepted) r where r.bank_fen = 0);
    if cardinality(finished) > 0 then
        perform post_settlements(finished, accepted[1].accepted_at);
    end if;

    return query
    select v.ord, v.outcome, v.settlement_id, v.person_id, v.acceptance_date, v.account_version, v.current_year_fen,
           v.carried_over_fen, b.transmitted, b.trace, b.reference
    from unnest(verdicts) v
    left join leg b on v.outcome = 'held' and b.person_id = v.person_id and b.acceptance_date = v.acceptance_date
                   and b.saga_id = v.settlement_id and b.leg = 'bank'
    order by v.ord;
end $$;

create type bank_answer as (
    ord int, person_id bigint, acceptance_date date, saga_id uuid, outcome text, response_code text,
    authorisation text, settlement_date date, cause text, decline_code text, fence bigint,
    next_attempt_at timestamptz, posting_date date
);

create type answer_verdict as (
    ord int, person_id bigint, acceptance_date date, saga_id uuid, action text, response_code text,
    authorisation text, settlement_date date, cause text, decline_code text, next_attempt_at timestamptz, posting_date date
);

create function judge_debit_answers(p_items bank_answer[]) returns setof answer_verdict language sql stable as $$
-- What an answer to a debit (or to the inquiry about one) means, given the leg's state and the decision. Evidence of the
-- bank counts whoever brings it; only the schedule of a worker whose claim was taken over is ignored (its fence is old).
    select r.ord, r.person_id, r.acceptance_date, r.saga_id,
           case
               when row_number() over (partition by r.saga_id order by r.ord) > 1 then 'none'
               when r.outcome = 'approved' and s.decision = 'open' and l.state in ('intended', 'unknown', 'approved') then 'capture'
               when r.outcome = 'approved' and l.state = 'undoing' then 'late'
               when r.outcome = 'declined' and s.decision = 'open' and l.state in ('intended', 'unknown')
                    then case s.on_bank_decline when 'cash' then 'cash' else 'decline' end
               when r.outcome = 'declined' and l.state = 'undoing' then 'undone'
               when r.outcome = 'unknown' and l.fence = r.fence and l.state = 'intended' then 'doubt'
               when r.outcome = 'unknown' and l.fence = r.fence and l.state = 'unknown' then 'wait'
               else 'none'
           end,
           r.response_code, r.authorisation, r.settlement_date, r.cause, r.decline_code, r.next_attempt_at, r.posting_date
    from unnest(p_items) r
    join settlement s on s.person_id = r.person_id and s.acceptance_date = r.acceptance_date and s.settlement_id = r.saga_id
    join leg l on l.person_id = r.person_id and l.acceptance_date = r.acceptance_date and l.saga_id = r.saga_id and l.leg = 'bank';
$$;

create function record_debit_answers(p_items jsonb, p_now timestamptz)
returns table (ord int, action text) language plpgsql as $$
-- Makes the bank's answers durable and draws the consequence in the same transaction: capture, cash, release or doubt.
#variable_conflict use_column
declare
    items    bank_answer[];
    verdicts answer_verdict[];
    forward_keys  saga_key[];
    backward_keys saga_key[];
begin
    items := array(select r from jsonb_populate_recordset(null::bank_answer, p_items) r order by r.person_id, r.ord);
    perform lock_persons(array(select r.person_id from unnest(items) r));
    verdicts := array(select v from judge_debit_answers(items) v);

    update leg l set
        state = case v.action
            when 'capture' then 'posted' when 'cash' then 'declined' when 'decline' then 'declined'
            when 'doubt' then 'unknown' when 'undone' then 'undone' else l.state end,
        move_no = case v.action when 'late' then l.move_no + 1 else l.move_no end,
        cause = case v.action when 'wait' then l.cause when 'late' then 'late_approval' else v.cause end,
        response_code = coalesce(v.response_code, l.response_code),
        authorisation = coalesce(v.authorisation, l.authorisation),
        bank_settlement_date = coalesce(v.settlement_date, l.bank_settlement_date),
        moved_at = p_now,
        next_attempt_at = case when v.action in ('doubt', 'wait') then v.next_attempt_at
                               when v.action = 'late' then l.next_attempt_at end
    from unnest(verdicts) v
    where v.action <> 'none' and l.person_id = v.person_id and l.acceptance_date = v.acceptance_date
      and l.saga_id = v.saga_id and l.leg = 'bank';

    update settlement s set
        decision = case when v.action = 'decline' then 'backward' else 'forward' end,
        decision_cause = case v.action when 'capture' then 'bank_approved' else 'bank_declined' end,
        decided_at = p_now,
        posting_date = case when v.action = 'decline' then null else v.posting_date end,
        cash_fen = s.cash_fen + case when v.action = 'cash' then s.bank_fen else 0 end,
        bank_fen = case when v.action = 'cash' then 0 else s.bank_fen end,
        bank_notice = case when v.action = 'cash' then v.decline_code else s.bank_notice end,
        decline_code = case when v.action = 'decline' then v.decline_code end,
        decline_bank_code = case when v.action in ('decline', 'cash') then v.response_code end
    from unnest(verdicts) v
    where v.action in ('capture', 'cash', 'decline') and s.person_id = v.person_id
      and s.acceptance_date = v.acceptance_date and s.settlement_id = v.saga_id;

    forward_keys := array(select (v.person_id, v.acceptance_date, v.saga_id)::saga_key
                          from unnest(verdicts) v where v.action in ('capture', 'cash'));
    backward_keys := array(select (v.person_id, v.acceptance_date, v.saga_id)::saga_key
                           from unnest(verdicts) v where v.action = 'decline');
    if cardinality(forward_keys) > 0 then
        perform end_holds(forward_keys, 'posted', 'capture', p_now);
        perform post_settlements(forward_keys, p_now);
    end if;
    if cardinality(backward_keys) > 0 then
        perform end_holds(backward_keys, 'voided', 'bank_declined', p_now);
        perform release_line_claims(backward_keys);
        insert into outbox_event
        select k.person_id, k.acceptance_date, k.saga_id, 'settlement.declined', p_now from unnest(backward_keys) k;
    end if;
    insert into outbox_event
    select v.person_id, v.acceptance_date, v.saga_id, 'settlement.undone', p_now from unnest(verdicts) v where v.action = 'undone';
    return query select v.ord, v.action from unnest(verdicts) v order by v.ord;
end $$;

create function note_approvals(p_items jsonb, p_now timestamptz) returns void language plpgsql as $$
-- The bare answer, for when the capture itself cannot commit: the approval is durable, recovery repeats the capture.
begin
    update leg l set state = 'approved', cause = 'bank_approved', response_code = r.response_code,
        authorisation = r.authorisation, bank_settlement_date = r.settlement_date, moved_at = p_now,
        next_attempt_at = r.next_attempt_at
    from jsonb_populate_recordset(null::bank_answer, p_items) r
    where l.person_id = r.person_id and l.acceptance_date = r.acceptance_date and l.saga_id = r.saga_id
      and l.leg = 'bank' and l.state in ('intended', 'unknown');
end $$;
