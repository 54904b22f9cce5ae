-- Bills judged by a plan: the funds pay their shares, by what is recorded with the bill, and counters say how far a person
-- has come in the insurance year. Counters move with the hold, and go back with whatever takes the bill back.

create table accumulator (
    person_id      bigint not null references insurance_accounts,
    plan           text not null,
    insurance_year int not null,
    counter        text not null check (counter ~ '^(pooled_fund|additional_fund|covered/[a-z][a-z0-9_/-]*)$'),
    fen            bigint not null check (fen >= 0),
    primary key (person_id, plan, insurance_year, counter)
);
comment on table accumulator is
    'The stored sums of accumulator_move, under the version of the person''s accounts. Counters: what each fund has paid in the
     insurance year over all visits, and covered/<kind>: what went through the bands of that kind of visit.';

create table accumulator_move (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    cause           text not null check (cause in ('hold', 'release', 'reversal', 'refund')),
    plan            text not null,
    insurance_year  int not null,
    counter         text not null,
    settlement_id   uuid not null,
    fen             bigint not null check (fen <> 0 and (cause = 'hold') = (fen > 0)),
    moved_at        timestamptz not null,
    primary key (person_id, acceptance_date, saga_id, cause, plan, insurance_year, counter),
    foreign key (person_id, plan, insurance_year, counter) references accumulator
) partition by range (acceptance_date);
create index accumulator_move_of on accumulator_move (person_id, acceptance_date, settlement_id);
comment on table accumulator_move is 'What a bill adds to a counter (hold), and what its release, reversal or refunds take off again.';

create trigger accumulator_stay before delete on accumulator for each row execute function refuse_change();
create trigger accumulator_no_truncate before truncate on accumulator execute function refuse_change();
create trigger accumulator_move_append_only before update or delete on accumulator_move
    for each row execute function refuse_change();
insert into partition_plan values ('accumulator_move');
select ensure_partitions(min(p.month), (extract(year from age(max(p.month), min(p.month))) * 12
                                        + extract(month from age(max(p.month), min(p.month))) + 1)::int)
from (select to_date(right(c.relname, 6), 'YYYYMM') as month
      from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'undo'::regclass) p;

insert into sealed_table values ('accumulator_move');
alter table accumulator_move add column tx bigint not null default (pg_current_xact_id()::text::bigint);
comment on column accumulator_move.tx is
    'The transaction that wrote the row: with a snapshot it tells, for good, which seal must hold it.';
select ensure_seal_indexes(current_date);

alter table insurance_accounts add column counting_settlement uuid;
comment on column insurance_accounts.counting_settlement is
    'The one open settlement of the person that has moved counters (rule 8); another such bill waits for its end.';

create function one_counting_settlement() returns trigger language plpgsql as $$
begin
    raise exception 'person %: % still counts', old.person_id, old.counting_settlement using errcode = 'restrict_violation';
end $$;
create trigger one_counting_settlement before update of counting_settlement on insurance_accounts for each row
    when (old.counting_settlement is not null and new.counting_settlement is not null
          and new.counting_settlement <> old.counting_settlement)
    execute function one_counting_settlement();

alter table settlement
    add column pooled_fund_fen bigint not null default 0 check (pooled_fund_fen >= 0),
    add column additional_fund_fen bigint not null default 0 check (additional_fund_fen >= 0),
    add column deposit_fen bigint not null default 0 check (deposit_fen >= 0),
    drop constraint settlement_check2,
    drop constraint settlement_check3,
    drop constraint settlement_visit_type_check,
    drop constraint consent_means_without_insurance,
    add constraint payers_pay_the_bill
        check (pooled_fund_fen + additional_fund_fen + current_year_fen + carried_over_fen + deposit_fen + bank_fen + cash_fen
               = bill_fen),
    add constraint insurance_pays_no_own_expense check (pooled_fund_fen + additional_fund_fen + current_year_fen
                                                        + carried_over_fen <= bill_fen - own_expense_fen),
    add constraint settlement_visit_type_check 
        check (visit_type in ('outpatient', 'emergency', 'pharmacy', 'inpatient', 'home_sickbed', 'deposit')),
    add constraint consent_means_without_insurance
        check (consent is null or pooled_fund_fen + additional_fund_fen + current_year_fen + carried_over_fen = 0);

comment on column settlement.deposit_fen is
    'Paid from the deposit of the stay. A deposit is a settlement of its own (visit_type deposit), which the bank or cash pays.';

alter table settlement_bill add column policy jsonb check (jsonb_typeof(policy) = 'array');
comment on column settlement_bill.policy is
    'By what the bill was judged, one record for each plan version and insurance year of its lines, in their order: plan, version,
     insurance_year, group, rule, level; the lines as the catalog had them; balances and counters just before, and what moved.
     Null: no plan covered the person, the accounts paid first.';

alter table transfer drop constraint transfer_part_check;
alter table transfer add constraint transfer_part_check
    check (part in ('pooled_fund', 'additional_fund', 'current_year', 'carried_over', 'deposit', 'bank', 'cash'));

alter table undo
    add column pooled_fund_fen bigint not null default 0 check (pooled_fund_fen >= 0),
    add column additional_fund_fen bigint not null default 0 check (additional_fund_fen >= 0),
    add column deposit_fen bigint not null default 0 check (deposit_fen >= 0),
    add column own_expense_fen bigint check (own_expense_fen >= 0),
    drop constraint undo_gives_back,
    add constraint undo_gives_back check (kind = 'reversal' or pooled_fund_fen + additional_fund_fen + current_year_fen
                                          + carried_over_fen + deposit_fen + bank_fen + cash_fen > 0);
comment on column undo.own_expense_fen is 'The class C share by the catalog; null: by the class that the till gave.';

alter table undo_line drop constraint undo_line_payer_check, drop constraint undo_line_amount_fen_check;
alter table undo_line
    add constraint undo_line_payer_check
        check (payer in ('pooled_fund', 'additional_fund', 'current_year', 'carried_over', 'deposit', 'bank', 'cash')),
    add constraint undo_line_amount_fen_check check (amount_fen <> 0);
comment on table undo_line is
    'What an undo gives back of which line, to whom. Never more than the bill''s recorded parts. Where a plan judged the bill,
     lines that are kept move to where they stand without the others: there an amount may be below zero.';

alter type settlement_request add attribute pooled_fund_fen bigint, add attribute additional_fund_fen bigint,
    add attribute deposit_fen bigint,
    add attribute policy jsonb, add attribute moved jsonb, add attribute stay jsonb;
comment on type settlement_request is
    'issuer: the bank of the card; bank_code: over whose link it is asked (its own, or the switch). moved: what the bill adds to
     counters, [{plan, insurance_year, counter, fen}]. stay: {stay_id, part, version} of a stay''s interim or final settlement.';
alter type undo_request add attribute shares jsonb, add attribute counters jsonb, add attribute own_expense_fen bigint,
    add attribute returned_before_fen bigint;
comment on type undo_request is
    'lines: of a refund, [{line_no, amount_fen}], null amount: what is left of the line. verb: void while the bank''s day of
     the debit is open, else refund; a part of the debit is always a refund. Of a bill that a plan judged, the refund brings
     shares [{line_no, payer, amount_fen}] and counters as in settlement_request.moved, made when returned_before_fen had been
     returned.';

create or replace function settlement_guard() returns trigger language plpgsql as $$
-- The facts never change; the decision is made once; the bank's share may only turn into cash, and only with the decision.
begin
    if tg_op = 'DELETE' then
        raise exception 'a settlement is never removed' using errcode = 'restrict_violation';
    end if;
    if (new.person_id, new.acceptance_date, new.settlement_id, new.institution_id, new.terminal_id, new.card_id,
        new.idempotency_key, new.visit_no, new.service_date, new.accepted_at, new.deadline_at, new.account_version,
        new.bill_fen, new.own_expense_fen, new.current_year_fen, new.carried_over_fen, new.agreed, new.on_bank_decline,
        new.consent, new.pooled_fund_fen, new.additional_fund_fen, new.deposit_fen)
       is distinct from
       (old.person_id, old.acceptance_date, old.settlement_id, old.institution_id, old.terminal_id, old.card_id,
        old.idempotency_key, old.visit_no, old.service_date, old.accepted_at, old.deadline_at, old.account_version,
        old.bill_fen, old.own_expense_fen, old.current_year_fen, old.carried_over_fen, old.agreed, old.on_bank_decline,
        old.consent, old.pooled_fund_fen, old.additional_fund_fen, old.deposit_fen)
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

create type counter_move as (plan text, insurance_year int, counter text, fen bigint);

create function move_counters(
    p_person_id bigint, p_acceptance_date date, p_saga_id uuid, p_cause text, p_settlement_id uuid, p_moves counter_move[],
    p_now timestamptz
) returns void language plpgsql as $$
-- Appends the moves of a saga (below zero to take off) and carries the stored sums on. The person is locked, and the caller
-- raises the version of the accounts.
begin
    insert into accumulator (person_id, plan, insurance_year, counter, fen)
    select p_person_id, m.plan, m.insurance_year, m.counter, m.fen from unnest(p_moves) m where m.fen > 0
    on conflict (person_id, plan, insurance_year, counter) do update set fen = accumulator.fen + excluded.fen;

    update accumulator a set fen = a.fen + m.fen
    from unnest(p_moves) m
    where m.fen < 0 and a.person_id = p_person_id and a.plan = m.plan and a.insurance_year = m.insurance_year
      and a.counter = m.counter;

    insert into accumulator_move (person_id, acceptance_date, saga_id, cause, plan, insurance_year, counter, settlement_id, fen,
                                  moved_at)
    select p_person_id, p_acceptance_date, p_saga_id, p_cause, m.plan, m.insurance_year, m.counter, p_settlement_id, m.fen, p_now
    from unnest(p_moves) m where m.fen <> 0;
end $$;

create function counters_left(p_person_id bigint, p_acceptance_date date, p_settlement_id uuid)
returns setof counter_move language sql stable as $$
-- What a settlement still adds to its person's counters.
    select m.plan, m.insurance_year, m.counter, sum(m.fen)::bigint
    from accumulator_move m
    where m.person_id = p_person_id and m.acceptance_date = p_acceptance_date and m.settlement_id = p_settlement_id
    group by 1, 2, 3 having sum(m.fen) <> 0;
$$;

create function give_back_counters(
    p_key saga_key, p_saga_id uuid, p_cause text, p_given jsonb, p_now timestamptz
) returns void language plpgsql as $$
-- Takes off what a settlement (p_key) added to counters: p_given of it, or without that all that is left.
declare
    given counter_move[];
begin
    if p_given is null then
        given := array(select c from counters_left(p_key.person_id, p_key.acceptance_date, p_key.saga_id) c);
    else
        given := array(select c from jsonb_populate_recordset(null::counter_move, p_given) c);
    end if;
    if cardinality(given) = 0 then
        return;
    end if;
    perform move_counters(p_key.person_id, p_key.acceptance_date, p_saga_id, p_cause, p_key.saga_id,
        array(select (g.plan, g.insurance_year, g.counter, -g.fen)::counter_move from unnest(given) g), p_now);
    update insurance_accounts a set version = a.version + 1 where a.person_id = p_key.person_id;
end $$;

create function bill_account(s settlement) returns text language sql immutable as $$
-- The ledger account that a bill is paid to: the institution's, or of a deposit what the institution keeps for the patient.
    select case s.visit_type when 'deposit' then 'deposit/' else 'institution/' end || s.institution_id;
$$;

create function deposit_left(p_person_id bigint, p_stay_id uuid) returns bigint language plpgsql stable as $$
-- What of a stay's deposits (fen) was neither given back nor used by a settlement of the stay that is open or stands.
declare
    x    record;
    fen  bigint := 0;
    used bigint;
begin
    for x in select * from standing_stay_settlements(p_person_id, p_stay_id) loop
        select case when s.visit_type = 'deposit' then case s.decision when 'forward' then s.bill_fen - s.returned_fen else 0 end
                    else coalesce((select sum(u.deposit_fen) from undo u where u.person_id = p_person_id
                                   and u.acceptance_date = x.acceptance_date and u.settlement_id = x.settlement_id), 0)
                         - s.deposit_fen end
        into used
        from settlement s
        where s.person_id = p_person_id and s.acceptance_date = x.acceptance_date and s.settlement_id = x.settlement_id;
        fen := fen + used;
    end loop;
    return fen;
end $$;

create or replace function post_settlements(p_keys saga_key[], p_now timestamptz) returns void language plpgsql as $$
-- Double entry, receipt and event of settlements whose decision has just become forward.
declare
    k saga_key;
begin
    foreach k in array p_keys loop
        insert into transfer
        select s.person_id, s.posting_date, s.settlement_id, v.part, v.debit_account, bill_account(s), v.amount_fen,
               s.acceptance_date, p_now
        from settlement s
        left join leg b on b.person_id = k.person_id and b.acceptance_date = k.acceptance_date and b.saga_id = k.saga_id
                       and b.leg = 'bank'
        cross join lateral (values
            ('pooled_fund', 'fund/pooled', s.pooled_fund_fen),
            ('additional_fund', 'fund/additional', s.additional_fund_fen),
            ('current_year', 'person/current_year', s.current_year_fen),
            ('carried_over', 'person/carried_over', s.carried_over_fen),
            ('deposit', 'deposit/' || s.institution_id, s.deposit_fen),
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
-- Ends the holds of these sagas, posted or voided; the key of hold_end lets each end once. Counters stay with what is
-- posted, and go back with what is voided. The persons are locked already.
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
            counting_settlement = nullif(a.counting_settlement, k.saga_id),
            current_year_held_fen = a.current_year_held_fen - t.current_year_fen,
            carried_over_held_fen = a.carried_over_held_fen - t.carried_over_fen,
            current_year_posted_fen = a.current_year_posted_fen
                - case when p_outcome = 'posted' then t.current_year_fen else 0 end,
            carried_over_posted_fen = a.carried_over_posted_fen
                - case when p_outcome = 'posted' then t.carried_over_fen else 0 end
        from (select coalesce(sum(h.amount_fen) filter (where h.account = 'current_year'), 0) as current_year_fen,
                     coalesce(sum(h.amount_fen) filter (where h.account = 'carried_over'), 0) as carried_over_fen,
                     count(*) as holds
              from hold h
              where h.person_id = k.person_id and h.acceptance_date = k.acceptance_date and h.saga_id = k.saga_id) t
        where a.person_id = k.person_id and (t.holds > 0 or a.counting_settlement = k.saga_id);

        if p_outcome = 'voided' then
            perform give_back_counters(k, k.saga_id, 'release', null, p_now);
        end if;

        update leg l set state = case when p_outcome = 'posted' then 'posted' else 'released' end,
            cause = p_cause, moved_at = p_now
        where l.person_id = k.person_id and l.acceptance_date = k.acceptance_date and l.saga_id = k.saga_id
          and l.leg = 'insurance';
    end loop;
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
               when r.stay is not null and not (
                   stay_stands(r.person_id, r.stay)
                   and (r.deposit_fen = 0 or r.deposit_fen <= deposit_left(r.person_id, (r.stay ->> 'stay_id')::uuid)))
               then 'stay_changed'
               when a.counting_settlement is not null and r.moved <> '[]' then 'busy'
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
-- Rule 4 of the way: one transaction for key, holds, counters and the bank leg with its intent to send. A bill that needs no
-- bank is posted in the same transaction. Items judged otherwise than 'held' change nothing.
#variable_conflict use_column
declare
    items    settlement_request[];
    verdicts hold_verdict[];
    accepted settlement_request[];
    finished saga_key[];
    r        settlement_request;
begin
    items := array(select i from jsonb_populate_recordset(null::settlement_request, p_items) i order by i.person_id, i.ord);
    perform lock_persons(array(select i.person_id from unnest(items) i));
    verdicts := array(select v from judge_holds(items) v);
    accepted := array(select i from unnest(items) i join unnest(verdicts) v on v.ord = i.ord where v.outcome = 'held');

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
        own_expense_fen, pooled_fund_fen, additional_fund_fen, current_year_fen, carried_over_fen, deposit_fen, bank_fen,
        cash_fen, agreed, on_bank_decline, bank_notice, consent, decision, decision_cause, decided_at, posting_date)
    select r.person_id, r.acceptance_date, r.settlement_id, r.institution_id, r.terminal_id, r.card_id,
        r.idempotency_key, r.visit_no, r.visit_type, r.service_date, r.accepted_at, r.deadline_at, r.account_version,
        r.bill_fen, r.own_expense_fen, r.pooled_fund_fen, r.additional_fund_fen, r.current_year_fen, r.carried_over_fen,
        r.deposit_fen, r.bank_fen, r.cash_fen, r.agreed, r.on_bank_decline, r.bank_notice, r.consent,
        case when r.bank_fen > 0 then 'open' else 'forward' end,
        case when r.bank_fen > 0 then null else 'no_bank_part' end,
        case when r.bank_fen > 0 then null else r.accepted_at end,
        case when r.bank_fen > 0 then null else r.posting_date end
    from unnest(accepted) r;

    insert into settlement_bill (person_id, acceptance_date, settlement_id, lines, parts, policy)
    select r.person_id, r.acceptance_date, r.settlement_id, r.lines, r.parts, r.policy from unnest(accepted) r;

    insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at)
    select r.person_id, r.acceptance_date, r.settlement_id, 'insurance',
           case when r.bank_fen > 0 then 'held' else 'posted' end,
           case when r.bank_fen > 0 then 'hold' else 'no_bank_part' end,
           r.pooled_fund_fen + r.additional_fund_fen + r.current_year_fen + r.carried_over_fen, r.accepted_at
    from unnest(accepted) r where r.pooled_fund_fen + r.additional_fund_fen + r.current_year_fen + r.carried_over_fen > 0;

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
        counting_settlement = case when r.bank_fen > 0 and r.moved <> '[]' then r.settlement_id
                                   else a.counting_settlement end,
        current_year_held_fen = a.current_year_held_fen + case when r.bank_fen > 0 then r.current_year_fen else 0 end,
        carried_over_held_fen = a.carried_over_held_fen + case when r.bank_fen > 0 then r.carried_over_fen else 0 end,
        current_year_posted_fen = a.current_year_posted_fen - case when r.bank_fen > 0 then 0 else r.current_year_fen end,
        carried_over_posted_fen = a.carried_over_posted_fen - case when r.bank_fen > 0 then 0 else r.carried_over_fen end
    from unnest(accepted) r
    where a.person_id = r.person_id;

    foreach r in array accepted loop
        if r.stay is not null then
            insert into stay_settlement values (r.person_id, (r.stay ->> 'stay_id')::uuid, r.settlement_id, r.acceptance_date,
                                                r.stay ->> 'part');
            update stay t set version = t.version + 1
            where t.person_id = r.person_id and t.stay_id = (r.stay ->> 'stay_id')::uuid;
        end if;
        if r.moved <> '[]' then
            perform move_counters(r.person_id, r.acceptance_date, r.settlement_id, 'hold', r.settlement_id,
                array(select m from jsonb_populate_recordset(null::counter_move, r.moved) m), r.accepted_at);
        end if;
    end loop;

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

create or replace function open_undo(r undo_request, s settlement, b leg, p_shares undo_share[]) returns void language plpgsql as $$
-- A reversal or refund of a settled bill: reserves what it gives back, posts what is ours to give, takes it off the counters,
-- states the intent to the bank. b is the bill's debit. A part of a debit cannot be voided, so only the whole of it is.
declare
    n         bigint;
    u         undo;
    insurance bigint;
begin
    insert into undo (person_id, acceptance_date, undo_id, settlement_id, kind, institution_id, terminal_id, idempotency_key,
                      reason, requested_at, pooled_fund_fen, additional_fund_fen, current_year_fen, carried_over_fen,
                      deposit_fen, bank_fen, cash_fen, own_expense_fen, posting_date)
    select s.person_id, s.acceptance_date, r.undo_id, s.settlement_id, r.kind, r.institution_id, r.terminal_id,
           r.idempotency_key, r.reason, r.requested_at,
           coalesce(sum(g.amount_fen) filter (where g.payer = 'pooled_fund'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'additional_fund'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'current_year'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'carried_over'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'deposit'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'bank'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'cash'), 0),
           case when r.kind = 'refund' then r.own_expense_fen else own_expense_left(s) end, r.posting_date
    from unnest(p_shares) g
    returning * into u;
    insert into undo_line
    select u.person_id, u.acceptance_date, u.undo_id, g.line_no, g.payer, u.settlement_id, g.amount_fen
    from unnest(p_shares) g;
    insert into saga_directory values (r.institution_id, r.undo_id, r.kind, s.person_id, s.acceptance_date);

    insurance := u.pooled_fund_fen + u.additional_fund_fen + u.current_year_fen + u.carried_over_fen;
    update settlement t set returned_fen = t.returned_fen + insurance + u.deposit_fen + u.bank_fen + u.cash_fen
    where t.person_id = s.person_id and t.acceptance_date = s.acceptance_date and t.settlement_id = s.settlement_id;

    if insurance > 0 then
        insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at)
        values (s.person_id, s.acceptance_date, r.undo_id, 'insurance_return', 'posted', r.kind, insurance, r.requested_at);
        update insurance_accounts a set version = a.version + 1,
            current_year_posted_fen = a.current_year_posted_fen + u.current_year_fen,
            carried_over_posted_fen = a.carried_over_posted_fen + u.carried_over_fen
        where a.person_id = s.person_id;
    end if;
    perform give_back_counters((s.person_id, s.acceptance_date, s.settlement_id)::saga_key, r.undo_id, r.kind, r.counters,
                               r.requested_at);
    insert into transfer
    select s.person_id, r.posting_date, r.undo_id, v.part, bill_account(s), v.credit_account,
           v.amount_fen, s.acceptance_date, r.requested_at
    from (values ('pooled_fund', 'fund/pooled', u.pooled_fund_fen),
                 ('additional_fund', 'fund/additional', u.additional_fund_fen),
                 ('current_year', 'person/current_year', u.current_year_fen),
                 ('carried_over', 'person/carried_over', u.carried_over_fen),
                 ('deposit', 'deposit/' || s.institution_id, u.deposit_fen),
                 ('cash', 'cash/' || s.institution_id, u.cash_fen)) v (part, credit_account, amount_fen)
    where v.amount_fen > 0;
    insert into outbox_event values (s.person_id, s.acceptance_date, r.undo_id, r.kind || '.opened', r.requested_at);

    if u.bank_fen > 0 then
        n := nextval('bank_reference_seq');
        insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at, bank_code, verb,
                         terminal_id, transmitted, trace, reference, attempts, fence, worker, next_attempt_at)
        values (s.person_id, s.acceptance_date, r.undo_id, 'bank_return', 'intended', r.kind, u.bank_fen, r.requested_at,
                b.bank_code, case when u.bank_fen = s.bank_fen then r.verb else 'refund' end, b.terminal_id,
                to_char(r.requested_at at time zone 'UTC', 'MMDDHH24MISS'), lpad((n % 1000000)::text, 6, '0'),
                lpad((n % 1000000000000)::text, 12, '0'), 1, 1, r.worker, r.lease_until);
    else
        perform close_undo((s.person_id, s.acceptance_date, r.undo_id)::saga_key, r.posting_date, r.requested_at);
    end if;
end $$;

create or replace function line_shares(p_person_id bigint, p_acceptance_date date, p_settlement_id uuid)
returns table (line_no int, payer text, paid_fen bigint, left_fen bigint) language sql stable as $$
-- Who paid how much of each line, and what of it was not given back yet: of a bill that a plan judged, also who pays a line
-- only since others were given back. Where the bank declined and cash took its place, the recorded parts name the bank.
    select coalesce(v.line_no, g.line_no), coalesce(v.payer, g.payer), coalesce(v.paid_fen, 0),
           coalesce(v.paid_fen, 0) - coalesce(g.given_fen, 0)
    from (
        select x.line_no, case when x.payer = 'bank' and s.bank_fen = 0 then 'cash' else x.payer end as payer,
               sum(x.amount_fen)::bigint as paid_fen
        from settlement s
        join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                               and sb.settlement_id = s.settlement_id
        cross join lateral jsonb_to_recordset(sb.parts) x (line_no int, payer text, amount_fen bigint)
        where s.person_id = p_person_id and s.acceptance_date = p_acceptance_date and s.settlement_id = p_settlement_id
        group by 1, 2) v
    full join (
        select u.line_no, u.payer, sum(u.amount_fen)::bigint as given_fen
        from undo_line u
        where u.person_id = p_person_id and u.acceptance_date = p_acceptance_date and u.settlement_id = p_settlement_id
        group by 1, 2) g on g.line_no = v.line_no and g.payer = v.payer;
$$;

create or replace function undo_line_guard() returns trigger language plpgsql as $$
-- No line gives back more than each of its payers paid. (All shares of the bill at once: a stay has thousands of lines.)
declare
    wrong text;
begin
    select a.settlement_id || ' line ' || l.line_no || ' ' || l.payer into wrong
    from (select distinct person_id, acceptance_date, settlement_id from added) a
    cross join lateral line_shares(a.person_id, a.acceptance_date, a.settlement_id) l
    where l.left_fen < 0
    limit 1;
    if wrong is not null then
        raise exception 'more would be given back than was paid: settlement %', wrong using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

create function own_expense_left(s settlement) returns bigint language sql stable as $$
-- The class C share (fen) of what was not given back yet of a bill that a plan judged; null where none did.
    select s.own_expense_fen - coalesce(
               (select sum(u.own_expense_fen) from undo u where u.person_id = s.person_id
                and u.acceptance_date = s.acceptance_date and u.settlement_id = s.settlement_id), 0)::bigint
    from settlement_bill sb
    where sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date and sb.settlement_id = s.settlement_id
      and sb.policy is not null;
$$;

create or replace function refund_shares(r undo_request) returns table (line_no int, wanted_fen bigint, left_fen bigint, shares undo_share[])
language sql stable as $$
-- What each line of a refund gives back to whom. Of a part of a line the patient's own money goes back first, then the
-- carried-over, then the current-year account: what stays paid is what the smaller line would have been charged. (Of a bill
-- that a plan judged, only the amounts count here: its shares come with the order.)
    with wanted as (
        select x.line_no, x.amount_fen from jsonb_to_recordset(r.lines) x (line_no int, amount_fen bigint)),
    ranked as (
        select l.*, sum(l.left_fen) over (partition by l.line_no) as line_left,
               sum(l.left_fen) over (partition by l.line_no
                   order by array_position(array['cash', 'bank', 'deposit', 'carried_over', 'current_year', 'additional_fund', 'pooled_fund'],
                                           l.payer)) - l.left_fen as before_fen
        from line_shares(r.person_id, r.acceptance_date, r.settlement_id) l)
    select w.line_no, coalesce(w.amount_fen, max(k.line_left), 0)::bigint, coalesce(max(k.line_left), -1)::bigint,
           array_agg((k.line_no, k.payer, least(k.left_fen, coalesce(w.amount_fen, k.line_left) - k.before_fen))::undo_share)
               filter (where k.left_fen > 0 and coalesce(w.amount_fen, k.line_left) > k.before_fen)
    from wanted w left join ranked k on k.line_no = w.line_no
    group by w.line_no, w.amount_fen;
$$;

create or replace function refund_settlement(r undo_request, s settlement, b leg, out verdict undo_verdict) language plpgsql as $$
-- Gives back lines of a settled bill, whole or in part. Refused, and then nothing changes, where the bill is not settled,
-- is or was taken back whole, or a line does not hold so much any more (left_fen -1: there is no such line). 'again': the
-- shares of a bill that a plan judged were made before another refund of it.
declare
    bad    record;
    judged boolean;
begin
    select sb.policy is not null into strict judged from settlement_bill sb
    where sb.person_id = r.person_id and sb.acceptance_date = r.acceptance_date and sb.settlement_id = r.settlement_id;
    if s.decision = 'open' then
        verdict := ('not_settled_yet', s.settlement_id, null, null);
    elsif s.decision = 'backward' or exists (
        select from undo u where u.person_id = r.person_id and u.acceptance_date = r.acceptance_date
            and u.settlement_id = r.settlement_id and u.kind = 'reversal')
    then
        verdict := ('taken_back', s.settlement_id, null, null);
    else
        select f.line_no, f.left_fen into bad from refund_shares(r) f
        where f.wanted_fen > f.left_fen or f.wanted_fen = 0 order by f.line_no limit 1;
        if found then
            verdict := ('exceeds_line', s.settlement_id, bad.line_no, bad.left_fen);
        elsif (select sum(f.wanted_fen) from refund_shares(r) f) > deposit_free(s) then
            verdict := ('deposit_used', s.settlement_id, null, deposit_free(s));
        elsif judged and s.returned_fen is distinct from r.returned_before_fen then
            verdict := ('again', s.settlement_id, null, null);
        elsif judged then
            perform open_undo(r, s, b, judged_shares(r));
            verdict := ('opened', r.undo_id, null, null);
        else
            r.own_expense_fen := null;
            r.counters := null;
            perform open_undo(r, s, b, array(select g from refund_shares(r) f cross join unnest(f.shares) g));
            verdict := ('opened', r.undo_id, null, null);
        end if;
    end if;
end $$;

create function deposit_free(s settlement) returns bigint language plpgsql stable as $$
-- How much of a deposit (fen) may be given back; null for any other settlement.
declare
    x stay_settlement;
begin
    if s.visit_type <> 'deposit' then
        return null;
    end if;
    select * into strict x from stay_settlement t where t.person_id = s.person_id and t.settlement_id = s.settlement_id;
    return deposit_left(s.person_id, x.stay_id);
end $$;

create or replace function reverse_settlement(r undo_request, s settlement, b leg, out verdict undo_verdict) language plpgsql as $$
-- Takes one settlement back whole. Open: turned backward in place. Settled: a saga that gives back whatever refunds have
-- left. Already taken back: the first answer, under whatever key it is asked. A deposit that a bill has used: not before that
-- bill is taken back.
declare
    existing uuid;
begin
    if s.decision = 'open' and b.state = 'approved' then
        verdict := ('capture_first', s.settlement_id, null, null);
    elsif s.decision = 'open' then
        perform turn_backward(array[(r.person_id, r.acceptance_date, r.settlement_id)::saga_key], 'till_reversal', r.requested_at);
        verdict := ('turned', s.settlement_id, null, null);
    elsif s.decision = 'backward' then
        verdict := ('known', s.settlement_id, null, null);
    else
        select u.undo_id into existing from undo u where u.person_id = r.person_id and u.acceptance_date = r.acceptance_date
            and u.settlement_id = r.settlement_id and u.kind = 'reversal';
        if existing is null and s.bill_fen - s.returned_fen > deposit_free(s) then
            verdict := ('deposit_used', s.settlement_id, null, deposit_free(s));
            return;
        end if;
        if existing is null then
            perform open_undo(r, s, b, array(
                select (l.line_no, l.payer, l.left_fen)::undo_share
                from line_shares(s.person_id, s.acceptance_date, s.settlement_id) l where l.left_fen > 0));
            perform release_line_claims(array[(s.person_id, s.acceptance_date, s.settlement_id)::saga_key]);
        end if;
        verdict := (case when existing is null then 'opened' else 'known' end, coalesce(existing, r.undo_id), null, null);
    end if;
end $$;

create or replace function close_undo(p_key saga_key, p_posting_date date, p_now timestamptz) returns void language plpgsql as $$
-- The last step of an undo, once the bank has its share (or there is none): that share posted, receipt and event.
begin
    insert into transfer
    select u.person_id, p_posting_date, u.undo_id, 'bank', bill_account(s), 'bank/' || l.bank_code,
           u.bank_fen, u.acceptance_date, p_now
    from undo u
    join settlement s on s.person_id = p_key.person_id and s.acceptance_date = p_key.acceptance_date
                     and s.settlement_id = u.settlement_id
    join leg l on l.person_id = p_key.person_id and l.acceptance_date = p_key.acceptance_date
              and l.saga_id = p_key.saga_id and l.leg = 'bank_return'
    where u.person_id = p_key.person_id and u.acceptance_date = p_key.acceptance_date and u.undo_id = p_key.saga_id;

    insert into receipt
    select u.person_id, u.acceptance_date, u.undo_id, u.kind, p_posting_date, p_now
    from undo u
    where u.person_id = p_key.person_id and u.acceptance_date = p_key.acceptance_date and u.undo_id = p_key.saga_id;

    insert into outbox_event
    select u.person_id, u.acceptance_date, u.undo_id,
           case u.kind when 'refund' then 'refund.refunded' else 'reversal.reversed' end, p_now
    from undo u
    where u.person_id = p_key.person_id and u.acceptance_date = p_key.acceptance_date and u.undo_id = p_key.saga_id;
end $$;

create function judged_shares(r undo_request) returns undo_share[] language plpgsql stable as $$
-- The shares that came with a refund. Each line must give back what is asked of it, and every other line nothing in sum.
declare
    shares undo_share[];
    wrong  int;
begin
    shares := array(select x from jsonb_populate_recordset(null::undo_share, r.shares) x where x.amount_fen <> 0);
    select coalesce(f.line_no, g.line_no) into wrong
    from refund_shares(r) f
    full join (select x.line_no, sum(x.amount_fen) as fen from unnest(shares) x group by x.line_no) g on g.line_no = f.line_no
    where coalesce(f.wanted_fen, 0) <> coalesce(g.fen, 0)
    limit 1;
    if found then
        raise exception 'the shares of line % do not sum to its refund', wrong using errcode = 'restrict_violation';
    end if;
    return shares;
end $$;

create or replace function undo_lines(p_person_id bigint, p_acceptance_date date, p_undo_id uuid) returns jsonb language sql stable as $$
-- The lines of which an undo gives something back, in the form of a bill's lines, with the amount that goes back.
    with given as (
        select l.line_no, sum(l.amount_fen)::bigint as fen from undo_line l
        where l.person_id = p_person_id and l.acceptance_date = p_acceptance_date and l.undo_id = p_undo_id
        group by l.line_no having sum(l.amount_fen) <> 0),
    billed as (
        select e.line, (e.line ->> 'line_no')::int as line_no
        from undo u
        join settlement_bill sb on sb.person_id = p_person_id and sb.acceptance_date = p_acceptance_date
                               and sb.settlement_id = u.settlement_id
        cross join lateral jsonb_array_elements(sb.lines) e (line)
        where u.person_id = p_person_id and u.acceptance_date = p_acceptance_date and u.undo_id = p_undo_id)
    select coalesce(jsonb_agg(b.line || jsonb_build_object('amount_fen', g.fen) order by g.line_no), '[]')
    from given g join billed b on b.line_no = g.line_no;
$$;

create or replace function undo_own_expense(p_person_id bigint, p_acceptance_date date, p_undo_id uuid) returns bigint
language sql stable as $$
-- The class C share (fen) of what an undo gives back: as it was judged, else by the class that the till gave.
    select coalesce(
        (select u.own_expense_fen from undo u
         where u.person_id = p_person_id and u.acceptance_date = p_acceptance_date and u.undo_id = p_undo_id),
        (select sum((l.line ->> 'amount_fen')::bigint)::bigint
         from jsonb_array_elements(undo_lines(p_person_id, p_acceptance_date, p_undo_id)) l (line)
         where l.line ->> 'category' = 'C'),
        0);
$$;

drop view settlement_status;
create view settlement_status as
select s.*, sb.lines, sb.parts, sb.policy,
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

drop function load_card(bytea);
create function load_card(p_blind_index bytea, p_service_date date)
returns table (
    person_id bigint, card_id bigint, kind text, life text, social text, financial text, expires_on date,
    certificate_fingerprint text, certificate_not_after timestamptz, certificate_revoked_at timestamptz, public_key bytea,
    bank_code text, pan_sealed bytea, last_counter bigint, account_version bigint,
    current_year_available_fen bigint, carried_over_available_fen bigint,
    plan text, status text, retired_on date, at_work_by date, id_number_sealed bytea, counters jsonb
) language plpgsql stable as $$
-- What a settlement needs to know of a card: one call, look-ups by key. Card, accounts, coverage on the service date and the
-- counters of its plan (year → counter → fen) are of one snapshot. Without a service date: no coverage.
#variable_conflict use_column
declare
    found_card card_index;
    covered    person_coverage;
    id_number  bytea;
    counted    jsonb;
begin
    select * into found_card from card_index i where i.blind_index = p_blind_index;
    if not found then
        return;
    end if;
    select * into covered from person_coverage t
    where t.person_id = found_card.person_id and t.valid_from <= p_service_date
    order by t.valid_from desc, t.coverage_no desc limit 1;
    if covered.plan is not null then
        select p.id_number_sealed into strict id_number from person p where p.person_id = found_card.person_id;
        select jsonb_object_agg(y.insurance_year, y.counters) into counted
        from (select a.insurance_year, jsonb_object_agg(a.counter, a.fen) as counters from accumulator a
              where a.person_id = found_card.person_id and a.plan = covered.plan
                and a.insurance_year >= extract(year from p_service_date) - 1
              group by a.insurance_year) y;
    end if;
    return query
    select c.person_id, c.card_id, c.kind, c.life, c.social, c.financial, c.expires_on,
           c.certificate_fingerprint, c.certificate_not_after, c.certificate_revoked_at, c.public_key,
           c.bank_code, c.pan_sealed, c.last_counter, a.version,
           a.current_year_posted_fen - a.current_year_held_fen, a.carried_over_posted_fen - a.carried_over_held_fen,
           covered.plan, covered.status, covered.retired_on, covered.at_work_by, id_number, counted
    from card c
    join insurance_accounts a on a.person_id = c.person_id
    where c.person_id = found_card.person_id and c.card_id = found_card.card_id;
end $$;

create function refund_facts(p_person_id bigint, p_acceptance_date date, p_settlement_id uuid)
returns table (returned_fen bigint, bank_fen bigint, deposit_fen bigint, policy jsonb, shares jsonb, moved jsonb)
language sql stable as $$
-- What a refund of a bill that a plan judged is worked out from: what was returned so far, who still pays what of each line,
-- and what the bill still adds to counters. No row where no plan judged it.
    select s.returned_fen, s.bank_fen, s.deposit_fen, sb.policy,
           (select coalesce(jsonb_agg(jsonb_build_object('line_no', l.line_no, 'payer', l.payer, 'amount_fen', l.left_fen)), '[]')
            from line_shares(s.person_id, s.acceptance_date, s.settlement_id) l),
           (select coalesce(jsonb_agg(c), '[]') from counters_left(s.person_id, s.acceptance_date, s.settlement_id) c)
    from settlement s
    join settlement_bill sb on sb.person_id = p_person_id and sb.acceptance_date = p_acceptance_date
                           and sb.settlement_id = p_settlement_id
    where s.person_id = p_person_id and s.acceptance_date = p_acceptance_date and s.settlement_id = p_settlement_id
      and sb.policy is not null;
$$;
