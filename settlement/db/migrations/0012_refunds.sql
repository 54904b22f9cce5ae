-- Refunds: a settled bill given back in part, line by line, by its recorded split; several, up to the bill. A reversal
-- is the same undo of whatever is left.

alter table saga_directory drop constraint saga_directory_kind_check;
alter table saga_directory add constraint saga_directory_kind_check check (kind in ('settlement', 'reversal', 'refund'));
alter table idempotency drop constraint idempotency_operation_check;
alter table idempotency add constraint idempotency_operation_check
    check (operation in ('settlement', 'reversal', 'refund', 'tombstone'));
alter table receipt drop constraint receipt_kind_check;
alter table receipt add constraint receipt_kind_check check (kind in ('settlement', 'reversal', 'refund'));
-- A reversal is never refused, so it may come when refunds have left nothing to give back.
alter table undo drop constraint undo_check;
alter table undo add constraint undo_gives_back
    check (kind = 'reversal' or current_year_fen + carried_over_fen + bank_fen + cash_fen > 0);

create table undo_line (
    person_id       bigint not null,
    acceptance_date date not null,
    undo_id         uuid not null,
    line_no         int not null,
    payer           text not null check (payer in ('current_year', 'carried_over', 'bank', 'cash')),
    settlement_id   uuid not null,
    amount_fen      bigint not null check (amount_fen > 0),
    primary key (person_id, acceptance_date, undo_id, line_no, payer),
    foreign key (person_id, acceptance_date, undo_id) references undo
) partition by range (acceptance_date);
create index undo_line_of on undo_line (person_id, acceptance_date, settlement_id, line_no);
comment on table undo_line is 'What an undo gives back of which line, to whom. Never more than the bill''s recorded parts.';

insert into partition_plan values ('undo_line');
create trigger undo_line_append_only before update or delete on undo_line
    for each row execute function refuse_change();
select ensure_partitions(min(p.month), (extract(year from age(max(p.month), min(p.month))) * 12
                                        + extract(month from age(max(p.month), min(p.month))) + 1)::int)
from (select to_date(right(c.relname, 6), 'YYYYMM') as month
      from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'undo'::regclass) p;

create function line_shares(p_person_id bigint, p_acceptance_date date, p_settlement_id uuid)
returns table (line_no int, payer text, paid_fen bigint, left_fen bigint) language sql stable as $$
-- Who paid how much of each line, and what of it was not given back yet. Where the bank declined and cash took its
-- place, the recorded parts still name the bank.
    select v.line_no, v.payer, v.paid_fen, v.paid_fen - coalesce(g.given_fen, 0)
    from (
        select x.line_no, case when x.payer = 'bank' and s.bank_fen = 0 then 'cash' else x.payer end as payer,
               sum(x.amount_fen)::bigint as paid_fen
        from settlement s
        join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                               and sb.settlement_id = s.settlement_id
        cross join lateral jsonb_to_recordset(sb.parts) x (line_no int, payer text, amount_fen bigint)
        where s.person_id = p_person_id and s.acceptance_date = p_acceptance_date and s.settlement_id = p_settlement_id
        group by 1, 2) v
    left join (
        select u.line_no, u.payer, sum(u.amount_fen)::bigint as given_fen
        from undo_line u
        where u.person_id = p_person_id and u.acceptance_date = p_acceptance_date and u.settlement_id = p_settlement_id
        group by 1, 2) g on g.line_no = v.line_no and g.payer = v.payer;
$$;

-- Reversals from before this table gave back every part of their bill.
insert into undo_line
select u.person_id, u.acceptance_date, u.undo_id, l.line_no, l.payer, u.settlement_id, l.paid_fen
from undo u cross join lateral line_shares(u.person_id, u.acceptance_date, u.settlement_id) l;

create function undo_line_guard() returns trigger language plpgsql as $$
-- No line gives back more than each of its payers paid.
declare
    wrong text;
begin
    select a.settlement_id || ' line ' || a.line_no || ' ' || a.payer into wrong
    from (select distinct person_id, acceptance_date, settlement_id, line_no, payer from added) a
    left join lateral (
        select s.left_fen from line_shares(a.person_id, a.acceptance_date, a.settlement_id) s
        where s.line_no = a.line_no and s.payer = a.payer) l on true
    where coalesce(l.left_fen, -1) < 0
    limit 1;
    if wrong is not null then
        raise exception 'more would be given back than was paid: settlement %', wrong using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
create trigger undo_line_guard after insert on undo_line referencing new table as added
    for each statement execute function undo_line_guard();

drop function request_reversals(jsonb);
drop function reverse_settlement(reversal_request);
drop function open_reversal(reversal_request, settlement, leg);
drop type reversal_request;

create type undo_request as (
    ord int, kind text, institution_id text, terminal_id text, idempotency_key text, body_digest bytea, undo_id uuid,
    person_id bigint, acceptance_date date, settlement_id uuid, lines jsonb, reason text, verb text,
    requested_at timestamptz, posting_date date, lease_until timestamptz, worker text, key_expires_at timestamptz
);
comment on type undo_request is
    'lines: of a refund, [{line_no, amount_fen}], null amount: what is left of the line. verb: void while the bank''s day of
     the debit is open, else refund; a part of the debit is always a refund.';

create type undo_share as (line_no int, payer text, amount_fen bigint);
create type undo_verdict as (outcome text, saga_id uuid, line_no int, left_fen bigint);

create function close_undo(p_key saga_key, p_posting_date date, p_now timestamptz) returns void language plpgsql as $$
-- The last step of an undo, once the bank has its share (or there is none): that share posted, receipt and event.
begin
    insert into transfer
    select u.person_id, p_posting_date, u.undo_id, 'bank', 'institution/' || s.institution_id, 'bank/' || l.bank_code,
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

create function open_undo(r undo_request, s settlement, b leg, p_shares undo_share[]) returns void language plpgsql as $$
-- A reversal or refund of a settled bill: reserves what it gives back, posts what is ours to give, states the intent to the
-- bank. b is the bill's debit. A part of a debit cannot be voided, so only the whole of it is.
declare
    n bigint;
    u undo;
begin
    insert into undo (person_id, acceptance_date, undo_id, settlement_id, kind, institution_id, terminal_id, idempotency_key,
                      reason, requested_at, current_year_fen, carried_over_fen, bank_fen, cash_fen, posting_date)
    select s.person_id, s.acceptance_date, r.undo_id, s.settlement_id, r.kind, r.institution_id, r.terminal_id,
           r.idempotency_key, r.reason, r.requested_at,
           coalesce(sum(g.amount_fen) filter (where g.payer = 'current_year'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'carried_over'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'bank'), 0),
           coalesce(sum(g.amount_fen) filter (where g.payer = 'cash'), 0), r.posting_date
    from unnest(p_shares) g
    returning * into u;
    insert into undo_line
    select u.person_id, u.acceptance_date, u.undo_id, g.line_no, g.payer, u.settlement_id, g.amount_fen
    from unnest(p_shares) g;
    insert into saga_directory values (r.institution_id, r.undo_id, r.kind, s.person_id, s.acceptance_date);

    update settlement t set returned_fen = t.returned_fen + u.current_year_fen + u.carried_over_fen + u.bank_fen + u.cash_fen
    where t.person_id = s.person_id and t.acceptance_date = s.acceptance_date and t.settlement_id = s.settlement_id;

    if u.current_year_fen + u.carried_over_fen > 0 then
        insert into leg (person_id, acceptance_date, saga_id, leg, state, cause, amount_fen, moved_at)
        values (s.person_id, s.acceptance_date, r.undo_id, 'insurance_return', 'posted', r.kind,
                u.current_year_fen + u.carried_over_fen, r.requested_at);
        update insurance_accounts a set version = a.version + 1,
            current_year_posted_fen = a.current_year_posted_fen + u.current_year_fen,
            carried_over_posted_fen = a.carried_over_posted_fen + u.carried_over_fen
        where a.person_id = s.person_id;
    end if;
    insert into transfer
    select s.person_id, r.posting_date, r.undo_id, v.part, 'institution/' || s.institution_id, v.credit_account,
           v.amount_fen, s.acceptance_date, r.requested_at
    from (values ('current_year', 'person/current_year', u.current_year_fen),
                 ('carried_over', 'person/carried_over', u.carried_over_fen),
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

create function reverse_settlement(r undo_request, s settlement, b leg, out verdict undo_verdict) language plpgsql as $$
-- Takes one settlement back whole. Open: turned backward in place. Settled: a saga that gives back whatever refunds have
-- left. Already taken back: the first answer, under whatever key it is asked.
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
        if existing is null then
            perform open_undo(r, s, b, array(
                select (l.line_no, l.payer, l.left_fen)::undo_share
                from line_shares(s.person_id, s.acceptance_date, s.settlement_id) l where l.left_fen > 0));
            perform release_line_claims(array[(s.person_id, s.acceptance_date, s.settlement_id)::saga_key]);
        end if;
        verdict := (case when existing is null then 'opened' else 'known' end, coalesce(existing, r.undo_id), null, null);
    end if;
end $$;

create function refund_shares(r undo_request) returns table (line_no int, wanted_fen bigint, left_fen bigint, shares undo_share[])
language sql stable as $$
-- What each line of a refund gives back to whom. Of a part of a line the patient's own money goes back first, then the
-- carried-over, then the current-year account: what stays paid is what the smaller line would have been charged.
    with wanted as (
        select x.line_no, x.amount_fen from jsonb_to_recordset(r.lines) x (line_no int, amount_fen bigint)),
    ranked as (
        select l.*, sum(l.left_fen) over (partition by l.line_no) as line_left,
               sum(l.left_fen) over (partition by l.line_no
                   order by array_position(array['cash', 'bank', 'carried_over', 'current_year'], l.payer)) - l.left_fen as before_fen
        from line_shares(r.person_id, r.acceptance_date, r.settlement_id) l)
    select w.line_no, coalesce(w.amount_fen, max(k.line_left), 0)::bigint, coalesce(max(k.line_left), -1)::bigint,
           array_agg((k.line_no, k.payer, least(k.left_fen, coalesce(w.amount_fen, k.line_left) - k.before_fen))::undo_share)
               filter (where k.left_fen > 0 and coalesce(w.amount_fen, k.line_left) > k.before_fen)
    from wanted w left join ranked k on k.line_no = w.line_no
    group by w.line_no, w.amount_fen;
$$;

create function refund_settlement(r undo_request, s settlement, b leg, out verdict undo_verdict) language plpgsql as $$
-- Gives back lines of a settled bill, whole or in part. Refused, and then nothing changes, where the bill is not settled,
-- is or was taken back whole, or a line does not hold so much any more (left_fen -1: there is no such line).
declare
    bad record;
begin
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
        else
            perform open_undo(r, s, b, array(select g from refund_shares(r) f cross join unnest(f.shares) g));
            verdict := ('opened', r.undo_id, null, null);
        end if;
    end if;
end $$;

create function request_undos(p_items jsonb)
returns table (ord int, outcome text, saga_id uuid, line_no int, left_fen bigint) language plpgsql as $$
-- Reversals and refunds of a batch, in the order of the persons, whose locks are taken first and together. A known key is
-- recognised before anything else is judged; refusals leave no trace, so that the key may be used again.
#variable_conflict use_column
declare
    items undo_request[];
    r     undo_request;
    k     idempotency;
    s     settlement;
    b     leg;
    v     undo_verdict;
begin
    items := array(select i from jsonb_populate_recordset(null::undo_request, p_items) i order by i.person_id, i.ord);
    perform lock_persons(array(select i.person_id from unnest(items) i));
    foreach r in array items loop
        select * into k from idempotency i where i.institution_id = r.institution_id and i.idempotency_key = r.idempotency_key;
        if found then
            return query select r.ord, case when k.operation = r.kind and k.body_digest = r.body_digest
                                            then 'known' else 'key_reused' end, k.saga_id, null::int, null::bigint;
            continue;
        end if;
        select * into strict s from settlement t
        where t.person_id = r.person_id and t.acceptance_date = r.acceptance_date and t.settlement_id = r.settlement_id;
        select * into b from leg l where l.person_id = r.person_id and l.acceptance_date = r.acceptance_date
            and l.saga_id = r.settlement_id and l.leg = 'bank';
        if r.kind = 'refund' then
            v := refund_settlement(r, s, b);
        else
            v := reverse_settlement(r, s, b);
        end if;
        if v.outcome in ('opened', 'turned', 'known') then
            insert into idempotency values (r.institution_id, r.idempotency_key, r.kind, r.body_digest, v.saga_id,
                                            r.person_id, r.acceptance_date, r.requested_at, r.key_expires_at);
        end if;
        return query select r.ord, v.outcome, v.saga_id, v.line_no, v.left_fen;
    end loop;
end $$;

create or replace function record_return_answers(p_items jsonb, p_now timestamptz)
returns table (ord int, action text) language plpgsql as $$
-- Answers to a void or refund. 'approved' closes the undo; 'too_late' turns a void into a refund with an identity of its own;
-- 'refused' is kept, shown to operators and tried again; giving back is never given up.
#variable_conflict use_column
declare
    items bank_answer[];
    r     bank_answer;
    l     leg;
    n     bigint;
begin
    items := array(select i from jsonb_populate_recordset(null::bank_answer, p_items) i order by i.person_id, i.ord);
    perform lock_persons(array(select i.person_id from unnest(items) i));
    foreach r in array items loop
        n := case when r.outcome = 'too_late' then nextval('bank_reference_seq') end;
        update leg t set
            state = case r.outcome when 'approved' then 'posted' when 'too_late' then 'intended'
                                   when 'refused' then 'refused' else 'unknown' end,
            move_no = case when r.outcome in ('too_late', 'refused') then t.move_no + 1 else t.move_no end,
            cause = r.cause,
            verb = case r.outcome when 'too_late' then 'refund' else t.verb end,
            transmitted = case r.outcome when 'too_late' then to_char(p_now at time zone 'UTC', 'MMDDHH24MISS') else t.transmitted end,
            trace = case r.outcome when 'too_late' then lpad((n % 1000000)::text, 6, '0') else t.trace end,
            reference = case r.outcome when 'too_late' then lpad((n % 1000000000000)::text, 12, '0') else t.reference end,
            response_code = coalesce(r.response_code, t.response_code),
            authorisation = coalesce(r.authorisation, t.authorisation),
            bank_settlement_date = coalesce(r.settlement_date, t.bank_settlement_date),
            moved_at = p_now,
            next_attempt_at = case r.outcome when 'approved' then null else r.next_attempt_at end
        where t.person_id = r.person_id and t.acceptance_date = r.acceptance_date and t.saga_id = r.saga_id
          and t.leg = 'bank_return' and t.state in ('intended', 'unknown', 'refused')
          and (r.outcome = 'approved' or t.fence = r.fence)
        returning * into l;
        if found and l.state = 'posted' then
            perform close_undo((r.person_id, r.acceptance_date, r.saga_id)::saga_key, r.posting_date, p_now);
        end if;
        return query
        select r.ord, t.state from leg t
        where t.person_id = r.person_id and t.acceptance_date = r.acceptance_date and t.saga_id = r.saga_id
          and t.leg = 'bank_return';
    end loop;
end $$;

create function refunds_of(p_person_id bigint, p_acceptance_date date, p_settlement_id uuid) returns uuid[]
language plpgsql stable as $$
-- The refunds of a settlement, oldest first. (A function of its own, so that a bill without any opens no partition for it.)
begin
    return array(
        select u.undo_id from undo u
        where u.person_id = p_person_id and u.acceptance_date = p_acceptance_date and u.settlement_id = p_settlement_id
          and u.kind = 'refund'
        order by u.requested_at, u.undo_id);
end $$;

create or replace view settlement_status as
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

create function undo_parts(p_person_id bigint, p_acceptance_date date, p_undo_id uuid) returns jsonb language sql stable as $$
-- What an undo gives back, in the form of a bill's parts.
    select coalesce(jsonb_agg(jsonb_build_object('line_no', l.line_no, 'rule', 'return', 'payer', l.payer,
                                                 'amount_fen', l.amount_fen) order by l.line_no, l.payer), '[]')
    from undo_line l
    where l.person_id = p_person_id and l.acceptance_date = p_acceptance_date and l.undo_id = p_undo_id;
$$;

create function undo_lines(p_person_id bigint, p_acceptance_date date, p_undo_id uuid) returns jsonb language sql stable as $$
-- The lines of which an undo gives something back, in the form of a bill's lines, with the amount that goes back.
    with given as (
        select l.line_no, sum(l.amount_fen)::bigint as fen from undo_line l
        where l.person_id = p_person_id and l.acceptance_date = p_acceptance_date and l.undo_id = p_undo_id
        group by l.line_no),
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

create function undo_own_expense(p_person_id bigint, p_acceptance_date date, p_undo_id uuid) returns bigint
language sql stable as $$
-- The class C share (fen) of what an undo gives back.
    select coalesce(sum((l.line ->> 'amount_fen')::bigint), 0)::bigint
    from jsonb_array_elements(undo_lines(p_person_id, p_acceptance_date, p_undo_id)) l (line)
    where l.line ->> 'category' = 'C';
$$;
