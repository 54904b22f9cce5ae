-- One partition each: a statement that names its settlement by plain values opens one partition, and finds the row by
-- its whole key whatever the planner knows of the table. Joined to a list of keys, each of some ten statements a
-- settlement opened every partition there is, and on a new, empty one the planner could choose to read all of it.
-- So the batch still locks and judges its items together; what then changes rows goes from settlement to settlement.

create or replace function post_settlements(p_keys saga_key[], p_now timestamptz) returns void language plpgsql as $$
-- Double entry, receipt and event of settlements whose decision has just become forward.
declare
    k saga_key;
begin
    foreach k in array p_keys loop
        insert into transfer
        select s.person_id, s.posting_date, s.settlement_id, v.part, v.debit_account,
               'institution/' || s.institution_id, v.amount_fen, s.acceptance_date, p_now
        from settlement s
        left join leg b on b.person_id = k.person_id and b.acceptance_date = k.acceptance_date and b.saga_id = k.saga_id
                       and b.leg = 'bank'
        cross join lateral (values
            ('current_year', 'person/current_year', s.current_year_fen),
            ('carried_over', 'person/carried_over', s.carried_over_fen),
            ('bank', 'bank/' || b.bank_code, s.bank_fen),
            ('cash', 'cash/' || s.institution_id, s.cash_fen)) v (part, debit_account, amount_fen)
        where s.person_id = k.person_id and s.acceptance_date = k.acceptance_date and s.settlement_id = k.saga_id
          and v.amount_fen > 0;

        insert into receipt
        select s.person_id, s.acceptance_date, s.settlement_id, 'settlement', s.posting_date, p_now
        from settlement s
        where s.person_id = k.person_id and s.acceptance_date = k.acceptance_date and s.settlement_id = k.saga_id;

        insert into outbox_event values (k.person_id, k.acceptance_date, k.saga_id, 'settlement.settled', p_now);
    end loop;
end $$;

create or replace function end_holds(p_keys saga_key[], p_outcome text, p_cause text, p_now timestamptz)
returns void language plpgsql as $$
-- Ends the holds of these sagas, posted or voided; the key of hold_end lets each end once. The persons are locked already.
declare
    k saga_key;
begin
    foreach k in array p_keys loop
        insert into hold_end
        select h.person_id, h.acceptance_date, h.saga_id, h.account, p_outcome, p_now
        from hold h
        where h.person_id = k.person_id and h.acceptance_date = k.acceptance_date and h.saga_id = k.saga_id;

        update insurance_accounts a set
            version = a.version + 1,
            current_year_held_fen = a.current_year_held_fen - t.current_year_fen,
            carried_over_held_fen = a.carried_over_held_fen - t.carried_over_fen,
            current_year_posted_fen = a.current_year_posted_fen
                - case when p_outcome = 'posted' then t.current_year_fen else 0 end,
            carried_over_posted_fen = a.carried_over_posted_fen
                - case when p_outcome = 'posted' then t.carried_over_fen else 0 end
        from (select coalesce(sum(h.amount_fen) filter (where h.account = 'current_year'), 0) as current_year_fen,
                     coalesce(sum(h.amount_fen) filter (where h.account = 'carried_over'), 0) as carried_over_fen
              from hold h
              where h.person_id = k.person_id and h.acceptance_date = k.acceptance_date and h.saga_id = k.saga_id
              having count(*) > 0) t
        where a.person_id = k.person_id;

        update leg l set state = case when p_outcome = 'posted' then 'posted' else 'released' end,
            cause = p_cause, moved_at = p_now
        where l.person_id = k.person_id and l.acceptance_date = k.acceptance_date and l.saga_id = k.saga_id
          and l.leg = 'insurance';
    end loop;
end $$;

create or replace function judge_debit_answers(p_items bank_answer[]) returns setof answer_verdict language sql stable as $$
-- What an answer to a debit (or to the inquiry about one) means, given the leg's state and the decision. Evidence of the
-- bank counts whoever brings it; only the schedule of a worker whose claim was taken over is ignored (its fence is old).
-- (offset 0: each is looked up for its item, by key.)
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
    cross join lateral (
        select x.decision, x.on_bank_decline from settlement x
        where x.person_id = r.person_id and x.acceptance_date = r.acceptance_date and x.settlement_id = r.saga_id
        offset 0) s
    cross join lateral (
        select x.state, x.fence from leg x
        where x.person_id = r.person_id and x.acceptance_date = r.acceptance_date and x.saga_id = r.saga_id and x.leg = 'bank'
        offset 0) l;
$$;

create or replace function record_debit_answers(p_items jsonb, p_now timestamptz)
returns table (ord int, action text) language plpgsql as $$
-- Makes the bank's answers durable and draws the consequence in the same transaction: capture, cash, release or doubt.
#variable_conflict use_column
declare
    items    bank_answer[];
    verdicts answer_verdict[];
    forward_keys  saga_key[];
    backward_keys saga_key[];
    verdict  answer_verdict;
begin
    items := array(select r from jsonb_populate_recordset(null::bank_answer, p_items) r order by r.person_id, r.ord);
    perform lock_persons(array(select r.person_id from unnest(items) r));
    verdicts := array(select v from judge_debit_answers(items) v);

    foreach verdict in array verdicts loop
        update leg l set
            state = case verdict.action
                when 'capture' then 'posted' when 'cash' then 'declined' when 'decline' then 'declined'
                when 'doubt' then 'unknown' when 'undone' then 'undone' else l.state end,
            move_no = case verdict.action when 'late' then l.move_no + 1 else l.move_no end,
            cause = case verdict.action when 'wait' then l.cause when 'late' then 'late_approval' else verdict.cause end,
            response_code = coalesce(verdict.response_code, l.response_code),
            authorisation = coalesce(verdict.authorisation, l.authorisation),
            bank_settlement_date = coalesce(verdict.settlement_date, l.bank_settlement_date),
            moved_at = p_now,
            next_attempt_at = case when verdict.action in ('doubt', 'wait') then verdict.next_attempt_at
                                   when verdict.action = 'late' then l.next_attempt_at end
        where verdict.action <> 'none' and l.person_id = verdict.person_id and l.acceptance_date = verdict.acceptance_date
          and l.saga_id = verdict.saga_id and l.leg = 'bank';

        update settlement s set
            decision = case when verdict.action = 'decline' then 'backward' else 'forward' end,
            decision_cause = case verdict.action when 'capture' then 'bank_approved' else 'bank_declined' end,
            decided_at = p_now,
            posting_date = case when verdict.action = 'decline' then null else verdict.posting_date end,
            cash_fen = s.cash_fen + case when verdict.action = 'cash' then s.bank_fen else 0 end,
            bank_fen = case when verdict.action = 'cash' then 0 else s.bank_fen end,
            bank_notice = case when verdict.action = 'cash' then verdict.decline_code else s.bank_notice end,
            decline_code = case when verdict.action = 'decline' then verdict.decline_code end,
            decline_bank_code = case when verdict.action in ('decline', 'cash') then verdict.response_code end
        where verdict.action in ('capture', 'cash', 'decline') and s.person_id = verdict.person_id
          and s.acceptance_date = verdict.acceptance_date and s.settlement_id = verdict.saga_id;
    end loop;

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

create or replace function hold_settlements(p_items jsonb)
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
    left join lateral (
        select x.transmitted, x.trace, x.reference from leg x
        where v.outcome = 'held' and x.person_id = v.person_id and x.acceptance_date = v.acceptance_date
          and x.saga_id = v.settlement_id and x.leg = 'bank'
        offset 0) b on true
    order by v.ord;
end $$;
