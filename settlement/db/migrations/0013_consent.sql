-- Consent: while a card's insurance side is frozen, the bank (or cash) pays a bill whole only if the patient has agreed to it.

alter type settlement_request add attribute consent text;
alter table settlement add column consent text check (consent = 'without_insurance');
alter table settlement add constraint consent_means_without_insurance
    check (consent is null or current_year_fen + carried_over_fen = 0);
comment on column settlement.consent is
    'The patient agreed that the frozen insurance side is left out; null where it was not needed.';

create or replace function settlement_guard() returns trigger language plpgsql as $$
-- The facts never change; the decision is made once; the bank's share may only turn into cash, and only with the decision.
begin
    if tg_op = 'DELETE' then
        raise exception 'a settlement is never removed' using errcode = 'restrict_violation';
    end if;
    if (new.person_id, new.acceptance_date, new.settlement_id, new.institution_id, new.terminal_id, new.card_id,
        new.idempotency_key, new.visit_no, new.service_date, new.accepted_at, new.deadline_at, new.account_version,
        new.bill_fen, new.own_expense_fen, new.current_year_fen, new.carried_over_fen, new.agreed, new.on_bank_decline,
        new.consent)
       is distinct from
       (old.person_id, old.acceptance_date, old.settlement_id, old.institution_id, old.terminal_id, old.card_id,
        old.idempotency_key, old.visit_no, old.service_date, old.accepted_at, old.deadline_at, old.account_version,
        old.bill_fen, old.own_expense_fen, old.current_year_fen, old.carried_over_fen, old.agreed, old.on_bank_decline,
        old.consent)
    then
        raise exception 'the facts of a settlement never change' using errcode = 'restrict_violation';
    end if;
    if old.decision <> 'open' and (new.decision, new.decision_cause, new.decided_at, new.bank_fen, new.cash_fen, new.posting_date)
       is distinct from (old.decision, old.decision_cause, old.decided_at, old.bank_fen, old.cash_fen, old.posting_date)
    then
        raise exception 'the decision of a settlement is made once' using errcode = 'restrict_violation';
    end if;
    if new.bank_fen <> old.bank_fen and not (new.bank_fen = 0 and new.decision = 'forward' and new.on_bank_decline = 'cash') then
        raise exception 'the bank''s share may only become cash' using errcode = 'restrict_violation';
    end if;
    if new.returned_fen < old.returned_fen then
        raise exception 'what was given back stays given back' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;

create or replace function judge_holds(p_items settlement_request[]) returns setof hold_verdict language sql stable as $$
-- What may be held, and why not. A known key is recognised before anything else is judged; one bill per person and batch.
    select r.ord,
           case
               when k.operation = 'tombstone' then 'tombstoned'
               when k.operation = 'settlement' and k.body_digest = r.body_digest then 'known'
               when k.operation is not null then 'key_reused'
               when row_number() over (partition by r.person_id order by r.ord) > 1
                 or row_number() over (partition by r.institution_id, r.idempotency_key order by r.ord) > 1 then 'again'
               when c.card_id is null or c.life <> 'issued' or c.certificate_revoked_at is not null
                 -- Without insurance only while it is frozen: free again, it pays first, whatever was consented to.
                 or c.social <> case when r.consent is null then 'active' else 'frozen' end
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
        consent, decision, decision_cause, decided_at, posting_date)
    select r.person_id, r.acceptance_date, r.settlement_id, r.institution_id, r.terminal_id, r.card_id,
        r.idempotency_key, r.visit_no, r.visit_type, r.service_date, r.accepted_at, r.deadline_at, r.account_version,
        r.bill_fen, r.own_expense_fen, r.current_year_fen, r.carried_over_fen, r.bank_fen, r.cash_fen, r.agreed,
        r.on_bank_decline, r.bank_notice, r.consent,
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

drop view settlement_status;
create view settlement_status as
select s.*, sb.lines, sb.parts,
       settlement_state(s.decision, b.state, case when u.undo_id is null then null
                                                 when r.saga_id is not null then 'reversed' else 'reversing' end) as state,
       b.state as bank_state, b.bank_code, b.amount_fen as bank_amount_fen, b.reference as bank_reference,
       b.authorisation as bank_authorisation, b.response_code as bank_response_code,
       u.undo_id as reversal_id,
       case when s.decision = 'forward' then s.settlement_id end as receipt_id,
       case when s.returned_fen > 0 then refunds_of(s.person_id, s.acceptance_date, s.settlement_id) end as refund_ids
from settlement s
join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                       and sb.settlement_id = s.settlement_id
left join leg b on b.person_id = s.person_id and b.acceptance_date = s.acceptance_date and b.saga_id = s.settlement_id
               and b.leg = 'bank'
left join undo u on u.person_id = s.person_id and u.acceptance_date = s.acceptance_date
                and u.settlement_id = s.settlement_id and u.kind = 'reversal'
left join receipt r on r.person_id = u.person_id and r.acceptance_date = u.acceptance_date and r.saga_id = u.undo_id;
