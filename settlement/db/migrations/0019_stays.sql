-- Inpatient stays: admission, fees in batches over days, and which settlements took which of them. What is settled of a stay
-- follows from its settlements, so taking one back opens its lines again without another word.

alter table saga_directory drop constraint saga_directory_kind_check;
alter table saga_directory add constraint saga_directory_kind_check
    check (kind in ('settlement', 'reversal', 'refund', 'stay'));
alter table idempotency drop constraint idempotency_operation_check;
alter table idempotency add constraint idempotency_operation_check
    check (operation in ('settlement', 'reversal', 'refund', 'tombstone', 'admission', 'cancellation', 'fees', 'withdrawal'));

create table stay (
    person_id      bigint not null references insurance_accounts,
    stay_id        uuid not null,
    institution_id text not null references institution,
    terminal_id    text not null,
    stay_no        text not null,
    visit_type     text not null check (visit_type in ('inpatient', 'home_sickbed')),
    card_id        bigint not null,
    admitted_on    date not null,
    admitted_at    timestamptz not null,
    cancelled_at   timestamptz,
    version        bigint not null default 1,
    primary key (person_id, stay_id)
);
comment on column stay.version is 'Rises with each batch, withdrawal and settlement; a settlement names the one that it was made from.';

-- Distributed by institution: the same number is one stay there, until the admission is cancelled.
create table stay_number (
    institution_id text not null,
    stay_no        text not null,
    stay_id        uuid not null,
    primary key (institution_id, stay_no)
);

create table stay_batch (
    person_id    bigint not null,
    stay_id      uuid not null,
    batch_no     int not null check (batch_no > 0),
    lines        int not null check (lines > 0),
    total_fen    bigint not null check (total_fen >= 0),
    uploaded_at  timestamptz not null,
    withdrawn_at timestamptz,
    primary key (person_id, stay_id, batch_no),
    foreign key (person_id, stay_id) references stay
);

create table stay_line (
    person_id    bigint not null,
    stay_id      uuid not null,
    line_no      int not null,
    batch_no     int not null,
    service_date date not null,
    item_code    text not null,
    item_name    text not null,
    category     text not null check (category in ('A', 'B', 'C')),
    amount_fen   bigint not null check (amount_fen >= 0),
    quantity     text not null,
    primary key (person_id, stay_id, line_no, batch_no),
    foreign key (person_id, stay_id, batch_no) references stay_batch
);

create table stay_settlement (
    person_id       bigint not null,
    stay_id         uuid not null,
    settlement_id   uuid not null,
    acceptance_date date not null,
    part            text not null check (part in ('interim', 'final', 'deposit')),
    primary key (person_id, stay_id, settlement_id),
    foreign key (person_id, stay_id) references stay
);

create function stay_guard() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE'
       or (new.person_id, new.stay_id, new.institution_id, new.terminal_id, new.stay_no, new.visit_type, new.card_id,
           new.admitted_on, new.admitted_at)
          is distinct from (old.person_id, old.stay_id, old.institution_id, old.terminal_id, old.stay_no, old.visit_type,
           old.card_id, old.admitted_on, old.admitted_at)
       or new.version < old.version or (old.cancelled_at is not null and new.cancelled_at is distinct from old.cancelled_at)
    then
        raise exception 'the facts of a stay never change' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger stay_guard before update or delete on stay for each row execute function stay_guard();
create trigger stay_no_truncate before truncate on stay execute function refuse_change();

create function stay_batch_guard() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or old.withdrawn_at is not null
       or (new.person_id, new.stay_id, new.batch_no, new.lines, new.total_fen, new.uploaded_at)
          is distinct from (old.person_id, old.stay_id, old.batch_no, old.lines, old.total_fen, old.uploaded_at)
    then
        raise exception 'a batch of fees is withdrawn once, and else never changes' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger stay_batch_guard before update or delete on stay_batch for each row execute function stay_batch_guard();
create trigger stay_batch_no_truncate before truncate on stay_batch execute function refuse_change();
create trigger stay_line_append_only before update or delete on stay_line for each row execute function refuse_change();
create trigger stay_line_no_truncate before truncate on stay_line execute function refuse_change();
create trigger stay_settlement_append_only before update or delete on stay_settlement
    for each row execute function refuse_change();
create trigger stay_settlement_no_truncate before truncate on stay_settlement execute function refuse_change();

create function standing_stay_settlements(p_person_id bigint, p_stay_id uuid)
returns table (settlement_id uuid, acceptance_date date, part text, decision text) language plpgsql stable as $$
-- The settlements of a stay that are open or stand: neither turned back nor taken back whole.
#variable_conflict use_column
declare
    x stay_settlement;
begin
    for x in select * from stay_settlement t where t.person_id = p_person_id and t.stay_id = p_stay_id loop
        return query
        select s.settlement_id, s.acceptance_date, x.part, s.decision from settlement s
        where s.person_id = p_person_id and s.acceptance_date = x.acceptance_date and s.settlement_id = x.settlement_id
          and s.decision <> 'backward'
          and not exists (select from undo u where u.person_id = p_person_id and u.acceptance_date = x.acceptance_date
                          and u.settlement_id = x.settlement_id and u.kind = 'reversal');
    end loop;
end $$;

create function settled_stay_lines(p_person_id bigint, p_stay_id uuid) returns setof int language plpgsql stable as $$
-- The numbers of the lines that standing settlements of the stay hold.
declare
    x record;
begin
    for x in select * from standing_stay_settlements(p_person_id, p_stay_id) loop
        return query
        select (l ->> 'line_no')::int
        from settlement_bill sb cross join lateral jsonb_array_elements(sb.lines) l
        where sb.person_id = p_person_id and sb.acceptance_date = x.acceptance_date and sb.settlement_id = x.settlement_id;
    end loop;
end $$;

create function open_stay_lines(p_person_id bigint, p_stay_id uuid, p_through date)
returns setof stay_line language sql stable as $$
-- What of a stay is to be settled: lines of batches that stand, up to a service date, that no standing settlement holds.
    select l.* from stay_line l
    join stay_batch b on b.person_id = p_person_id and b.stay_id = p_stay_id and b.batch_no = l.batch_no
    where l.person_id = p_person_id and l.stay_id = p_stay_id and b.withdrawn_at is null
      and (p_through is null or l.service_date <= p_through)
      and l.line_no not in (select settled_stay_lines(p_person_id, p_stay_id))
    order by l.line_no;
$$;

create type stay_verdict as (outcome text, stay_id uuid, batch_no int, line_no int);

create function known_stay_key(
    p_institution_id text, p_key text, p_operation text, p_body_digest bytea, out verdict stay_verdict
) language plpgsql stable as $$
-- What an idempotency key of a stay's operation stands for; null: nothing yet.
declare
    k idempotency;
begin
    select * into k from idempotency i where i.institution_id = p_institution_id and i.idempotency_key = p_key;
    if found then
        verdict := (case when k.operation = p_operation and k.body_digest = p_body_digest then 'known' else 'key_reused' end,
                    k.saga_id, null, null);
    end if;
end $$;

create function admit_stay(
    p_person_id bigint, p_stay_id uuid, p_institution_id text, p_terminal_id text, p_stay_no text, p_visit_type text,
    p_card_id bigint, p_admitted_on date, p_key text, p_body_digest bytea, p_today date, p_now timestamptz, p_expires_at timestamptz
) returns stay_verdict language plpgsql as $$
-- 'admitted', 'known', 'key_reused', or 'number_used' with the stay that has the number.
declare
    verdict stay_verdict;
    other   stay_number;
begin
    perform lock_persons(array[p_person_id]);
    verdict := known_stay_key(p_institution_id, p_key, 'admission', p_body_digest);
    if verdict.outcome is not null then
        return verdict;
    end if;
    insert into stay_number values (p_institution_id, p_stay_no, p_stay_id) on conflict do nothing;
    if not found then
        select * into other from stay_number n where n.institution_id = p_institution_id and n.stay_no = p_stay_no;
        return ('number_used', other.stay_id, null, null)::stay_verdict;
    end if;
    insert into stay (person_id, stay_id, institution_id, terminal_id, stay_no, visit_type, card_id, admitted_on, admitted_at)
    values (p_person_id, p_stay_id, p_institution_id, p_terminal_id, p_stay_no, p_visit_type, p_card_id, p_admitted_on, p_now);
    insert into saga_directory values (p_institution_id, p_stay_id, 'stay', p_person_id, p_today);
    insert into idempotency values (p_institution_id, p_key, 'admission', p_body_digest, p_stay_id, p_person_id, p_today, p_now,
                                    p_expires_at);
    return ('admitted', p_stay_id, null, null)::stay_verdict;
end $$;

create function stay_refusal(s stay) returns text language sql stable as $$
-- Why nothing may be changed of a stay any more; null: it may.
    select case when s.cancelled_at is not null then 'cancelled'
                when exists (select from standing_stay_settlements(s.person_id, s.stay_id) x where x.part = 'final') then 'discharged' end;
$$;

create function upload_fees(
    p_person_id bigint, p_stay_id uuid, p_institution_id text, p_key text, p_body_digest bytea, p_lines jsonb, p_today date,
    p_now timestamptz, p_expires_at timestamptz
) returns stay_verdict language plpgsql as $$
-- 'uploaded' with the batch's number, 'known', 'key_reused', 'cancelled', 'discharged', or 'line_used' with the number of a line
-- that a batch that stands has already.
declare
    verdict stay_verdict;
    s       stay;
    n       int;
begin
    perform lock_persons(array[p_person_id]);
    verdict := known_stay_key(p_institution_id, p_key, 'fees', p_body_digest);
    if verdict.outcome is not null then
        return verdict;
    end if;
    select * into strict s from stay t where t.person_id = p_person_id and t.stay_id = p_stay_id;
    if stay_refusal(s) is not null then
        return (stay_refusal(s), p_stay_id, null, null)::stay_verdict;
    end if;
    -- Line by line, by key (limit keeps it so): the planner knows nothing of how many lines a stay has.
    select (x ->> 'line_no')::int into n
    from jsonb_array_elements(p_lines) x
    cross join lateral (
        select from stay_line l
        where l.person_id = p_person_id and l.stay_id = p_stay_id and l.line_no = (x ->> 'line_no')::int
          and exists (select from stay_batch b where b.person_id = p_person_id and b.stay_id = p_stay_id
                      and b.batch_no = l.batch_no and b.withdrawn_at is null)
        limit 1) used
    order by 1 limit 1;
    if found then
        return ('line_used', p_stay_id, null, n)::stay_verdict;
    end if;
    select coalesce(max(b.batch_no), 0) + 1 into n from stay_batch b where b.person_id = p_person_id and b.stay_id = p_stay_id;
    insert into stay_batch
    select p_person_id, p_stay_id, n, count(*), sum(x.amount_fen), p_now
    from jsonb_to_recordset(p_lines) x (amount_fen bigint);
    insert into stay_line
    select p_person_id, p_stay_id, x.line_no, n, x.service_date, x.item_code, x.item_name, x.category, x.amount_fen, x.quantity
    from jsonb_populate_recordset(null::stay_line, p_lines) x;
    update stay t set version = t.version + 1 where t.person_id = p_person_id and t.stay_id = p_stay_id;
    insert into idempotency values (p_institution_id, p_key, 'fees', p_body_digest, p_stay_id, p_person_id, p_today, p_now,
                                    p_expires_at);
    return ('uploaded', p_stay_id, n, null)::stay_verdict;
end $$;

create function withdraw_fees(
    p_person_id bigint, p_stay_id uuid, p_institution_id text, p_key text, p_body_digest bytea, p_batch_no int, p_today date,
    p_now timestamptz, p_expires_at timestamptz
) returns stay_verdict language plpgsql as $$
-- 'withdrawn', 'known' (also where the batch was withdrawn under another key), 'key_reused', 'cancelled', 'discharged',
-- 'batch_unknown', or 'settled' with the number of a line that a standing settlement holds.
declare
    verdict stay_verdict;
    s       stay;
    b       stay_batch;
    n       int;
begin
    perform lock_persons(array[p_person_id]);
    verdict := known_stay_key(p_institution_id, p_key, 'withdrawal', p_body_digest);
    if verdict.outcome is not null then
        return verdict;
    end if;
    select * into strict s from stay t where t.person_id = p_person_id and t.stay_id = p_stay_id;
    select * into b from stay_batch t where t.person_id = p_person_id and t.stay_id = p_stay_id and t.batch_no = p_batch_no;
    if not found then
        return ('batch_unknown', p_stay_id, p_batch_no, null)::stay_verdict;
    end if;
    if b.withdrawn_at is null then
        if stay_refusal(s) is not null then
            return (stay_refusal(s), p_stay_id, null, null)::stay_verdict;
        end if;
        select l.line_no into n from stay_line l
        where l.person_id = p_person_id and l.stay_id = p_stay_id and l.batch_no = p_batch_no
          and l.line_no in (select settled_stay_lines(p_person_id, p_stay_id))
        order by l.line_no limit 1;
        if found then
            return ('settled', p_stay_id, p_batch_no, n)::stay_verdict;
        end if;
        update stay_batch t set withdrawn_at = p_now
        where t.person_id = p_person_id and t.stay_id = p_stay_id and t.batch_no = p_batch_no;
        update stay t set version = t.version + 1 where t.person_id = p_person_id and t.stay_id = p_stay_id;
    end if;
    insert into idempotency values (p_institution_id, p_key, 'withdrawal', p_body_digest, p_stay_id, p_person_id, p_today, p_now,
                                    p_expires_at);
    return (case when b.withdrawn_at is null then 'withdrawn' else 'known' end, p_stay_id, p_batch_no, null)::stay_verdict;
end $$;

create function cancel_stay(
    p_person_id bigint, p_stay_id uuid, p_institution_id text, p_key text, p_body_digest bytea, p_today date,
    p_now timestamptz, p_expires_at timestamptz
) returns stay_verdict language plpgsql as $$
-- Takes the admission back: 'cancelled_now', 'known' (also cancelled under another key), 'key_reused', or 'not_empty' while
-- a batch or a settlement stands.
declare
    verdict stay_verdict;
    s       stay;
begin
    perform lock_persons(array[p_person_id]);
    verdict := known_stay_key(p_institution_id, p_key, 'cancellation', p_body_digest);
    if verdict.outcome is not null then
        return verdict;
    end if;
    select * into strict s from stay t where t.person_id = p_person_id and t.stay_id = p_stay_id;
    if s.cancelled_at is null then
        if exists (select from stay_batch b where b.person_id = p_person_id and b.stay_id = p_stay_id and b.withdrawn_at is null)
           or exists (select from standing_stay_settlements(p_person_id, p_stay_id) x
                      join settlement t on t.person_id = p_person_id and t.acceptance_date = x.acceptance_date
                                       and t.settlement_id = x.settlement_id
                      where t.returned_fen < t.bill_fen) then
            return ('not_empty', p_stay_id, null, null)::stay_verdict;
        end if;
        update stay t set cancelled_at = p_now, version = t.version + 1 where t.person_id = p_person_id and t.stay_id = p_stay_id;
        delete from stay_number n where n.institution_id = s.institution_id and n.stay_no = s.stay_no and n.stay_id = p_stay_id;
    end if;
    insert into idempotency values (p_institution_id, p_key, 'cancellation', p_body_digest, p_stay_id, p_person_id, p_today, p_now,
                                    p_expires_at);
    return (case when s.cancelled_at is null then 'cancelled_now' else 'known' end, p_stay_id, null, null)::stay_verdict;
end $$;

create function stay_stands(p_person_id bigint, p_stay jsonb) returns boolean language plpgsql stable as $$
-- Whether a settlement made from this version of a stay may still be held: nothing of the stay has changed since.
declare
    s stay;
begin
    select * into s from stay t where t.person_id = p_person_id and t.stay_id = (p_stay ->> 'stay_id')::uuid;
    return found and s.version = (p_stay ->> 'version')::bigint and stay_refusal(s) is null;
end $$;
