-- The turn of the insurance year: what is left on the current-year account is carried over and the new year's credit posted,
-- once for a person and year. What bills of the old year give back afterwards follows by sweeps.

alter table transfer drop constraint transfer_part_check;
alter table transfer add constraint transfer_part_check
    check (part in ('pooled_fund', 'additional_fund', 'current_year', 'carried_over', 'deposit', 'bank', 'cash', 'rollover'));

alter table insurance_accounts add column opened_year int;
comment on column insurance_accounts.opened_year is 'The insurance year that the accounts are in; null: none was opened yet. It only rises.';

create function opened_year_guard() returns trigger language plpgsql as $$
begin
    if old.opened_year is not null and (new.opened_year is null or new.opened_year < old.opened_year) then
        raise exception 'an insurance year is never opened backwards: person % is in %', old.person_id, old.opened_year
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
-- Only for statements that name the column: a settlement's update of the balances does not call it.
create trigger opened_year_guard before update of opened_year on insurance_accounts
    for each row execute function opened_year_guard();

-- The key is the promise: a person's year is opened once.
create table account_year (
    person_id       bigint not null references insurance_accounts,
    insurance_year  int not null check (insurance_year between 2000 and 2999),
    turn_id         uuid not null,
    rolled_fen      bigint not null check (rolled_fen >= 0),
    credited_fen    bigint not null check (credited_fen >= 0),
    account_version bigint not null check (account_version >= 0),
    freed_fen       bigint not null check (freed_fen >= 0),
    credits_fen     bigint not null check (credits_fen >= credited_fen),
    posting_date    date not null,
    opened_at       timestamptz not null,
    tx              bigint not null default (pg_current_xact_id()::text::bigint),
    primary key (person_id, insurance_year)
);
comment on table account_year is
    'turn_id: the saga of its transfers, and the id of its credit. account_version: bills split from an older one are of the
     years before (0: none is, the person came after the turn). freed_fen, credits_fen: what such bills had given back to the
     current-year account by then, and what had been credited to it, this credit included: what comes on top came after.';

create table account_year_sweep (
    person_id      bigint not null,
    insurance_year int not null,
    sweep_id       uuid not null,
    rolled_fen     bigint not null check (rolled_fen > 0),
    posting_date   date not null,
    swept_at       timestamptz not null,
    tx             bigint not null default (pg_current_xact_id()::text::bigint),
    primary key (person_id, insurance_year, sweep_id),
    foreign key (person_id, insurance_year) references account_year
);
comment on table account_year_sweep is 'Money of the years before that came back to the current-year account after the turn, carried over too.';

create trigger account_year_append_only before update or delete on account_year
    for each row execute function refuse_change();
create trigger account_year_no_truncate before truncate on account_year execute function refuse_change();
create trigger account_year_sweep_append_only before update or delete on account_year_sweep
    for each row execute function refuse_change();
create trigger account_year_sweep_no_truncate before truncate on account_year_sweep execute function refuse_change();

insert into sealed_table values ('account_year'), ('account_year_sweep');
create index account_year_tx on account_year using brin (tx) with (pages_per_range = 16, autosummarize = on);
create index account_year_sweep_tx on account_year_sweep using brin (tx) with (pages_per_range = 16, autosummarize = on);

create function freed_by_bills(p_person_ids bigint[], p_versions bigint[])
returns table (person_id bigint, freed_fen bigint) language plpgsql stable as $$
-- What bills of each person, split from an older version of the accounts than given, have given back to the current-year
-- account in all: holds that were voided, reversals and refunds. Versions rise under the person's lock, so no clock decides
-- which bill was before which turn. For many persons at once, because opening all partitions takes longer than reading them.
#variable_conflict use_column
begin
    return query
    select f.person_id, sum(f.fen)::bigint
    from (
        select k.person_id, 0 as fen from unnest(p_person_ids) k (person_id)
        union all
        select h.person_id, h.amount_fen
        from unnest(p_person_ids, p_versions) k (person_id, version)
        join hold h on h.person_id = k.person_id and h.account = 'current_year'
        join hold_end e on e.person_id = h.person_id and e.acceptance_date = h.acceptance_date and e.saga_id = h.saga_id
                       and e.account = h.account and e.outcome = 'voided'
        join settlement s on s.person_id = h.person_id and s.acceptance_date = h.acceptance_date
                         and s.settlement_id = h.saga_id and s.account_version < k.version
        union all
        select u.person_id, x.amount_fen
        from unnest(p_person_ids, p_versions) k (person_id, version)
        join undo u on u.person_id = k.person_id
        join settlement s on s.person_id = u.person_id and s.acceptance_date = u.acceptance_date
                         and s.settlement_id = u.settlement_id and s.account_version < k.version
        join transfer x on x.person_id = u.person_id and x.posting_date = u.posting_date and x.saga_id = u.undo_id
                       and x.credit_account = 'person/current_year') f
    group by f.person_id;
end $$;

create function current_year_credits(p_person_id bigint) returns bigint language sql stable as $$
-- What was credited to the current-year account in all.
    select coalesce(sum(c.amount_fen), 0)::bigint from account_credit c
    where c.person_id = p_person_id and c.account = 'current_year';
$$;

create type year_opening as (ord int, person_id bigint, turn_id uuid, credit_fen bigint);

create function judge_openings(p_year int, p_items year_opening[])
returns table (ord int, outcome text, rolled_fen bigint, credited_fen bigint) language sql stable as $$
-- 'open': it may be, and what would be carried over; 'known': it is, with this credit; 'differs': it is, with another (which
-- is told); 'later': a later year is; 'no_accounts'.
    select r.ord,
           case
               when a.person_id is null then 'no_accounts'
               when a.opened_year > p_year then 'later'
               when a.opened_year = p_year then case when y.credited_fen = r.credit_fen then 'known' else 'differs' end
               else 'open'
           end,
           coalesce(y.rolled_fen, a.current_year_posted_fen - a.current_year_held_fen, 0),
           coalesce(y.credited_fen, r.credit_fen)
    from unnest(p_items) r
    left join lateral (select t.* from insurance_accounts t where t.person_id = r.person_id offset 0) a on true
    left join lateral (
        select t.* from account_year t where t.person_id = r.person_id and t.insurance_year = p_year offset 0) y on true
    order by r.ord;
$$;

create function open_year(
    p_items jsonb, p_year int, p_reason text, p_began_at timestamptz, p_posting_date date, p_now timestamptz
) returns table (ord int, outcome text, rolled_fen bigint, credited_fen bigint) language plpgsql as $$
-- Turns the year for a batch of persons, in one transaction with whatever called it. 'opened', or what judge_openings says.
-- p_began_at: when the first of all persons was turned. Who was registered since then has no money of an older year.
#variable_conflict use_column
declare
    items year_opening[];
    turns account_year[];
begin
    items := array(select r from jsonb_populate_recordset(null::year_opening, p_items) r order by r.person_id);
    perform lock_persons(array(select r.person_id from unnest(items) r));

    with made as (
        insert into account_year (person_id, insurance_year, turn_id, rolled_fen, credited_fen, account_version, freed_fen,
                                  credits_fen, posting_date, opened_at)
        select r.person_id, p_year, r.turn_id,
               case when a.came_later then 0 else a.available_fen end,
               r.credit_fen,
               case when a.came_later then 0 else a.version + 1 end,
               case when a.came_later then 0 else f.freed_fen end,
               current_year_credits(r.person_id) + r.credit_fen,
               p_posting_date, p_now
        from unnest(items) r
        cross join lateral (
            select t.version, t.opened_year, t.current_year_posted_fen - t.current_year_held_fen as available_fen,
                   t.opened_year is null and p.registered_at > p_began_at as came_later
            from insurance_accounts t join person p on p.person_id = t.person_id
            where t.person_id = r.person_id
            offset 0) a
        join freed_by_bills(array(select r.person_id from unnest(items) r),
                            array(select 9223372036854775807 from unnest(items) r)) f on f.person_id = r.person_id
        where a.opened_year is null or a.opened_year < p_year
        returning account_year as turn)
    select coalesce(array_agg(m.turn), '{}') into turns from made m;

    insert into account_credit (person_id, credit_id, account, amount_fen, reason, credited_at)
    select y.person_id, y.turn_id, 'current_year', y.credited_fen, p_reason, p_now from unnest(turns) y where y.credited_fen > 0;

    insert into transfer
    select y.person_id, p_posting_date, y.turn_id, v.part, v.debit_account, v.credit_account, v.amount_fen, p_posting_date, p_now
    from unnest(turns) y
    cross join lateral (values
        ('rollover', 'person/current_year', 'person/carried_over', y.rolled_fen),
        ('current_year', 'fund/personal_accounts', 'person/current_year', y.credited_fen))
        v (part, debit_account, credit_account, amount_fen)
    where v.amount_fen > 0;

    update insurance_accounts a set
        version = a.version + 1,
        opened_year = p_year,
        current_year_posted_fen = a.current_year_posted_fen - y.rolled_fen + y.credited_fen,
        carried_over_posted_fen = a.carried_over_posted_fen + y.rolled_fen
    from unnest(turns) y
    where a.person_id = y.person_id;

    return query
    select j.ord, case when y.turn_id is null then j.outcome else 'opened' end, j.rolled_fen, j.credited_fen
    from judge_openings(p_year, items) j
    join unnest(items) r on r.ord = j.ord
    left join unnest(turns) y on y.turn_id = r.turn_id
    order by j.ord;
end $$;

create function remainders(p_person_ids bigint[], p_year int) returns table (person_id bigint, rolled_fen bigint)
language plpgsql stable as $$
-- What came back to each person from older years since this one was opened, is still there and was not carried over yet: never
-- more than is available, nor than is left of that when all later credits are taken to be untouched.
#variable_conflict use_column
declare
    turns account_year[];
begin
    turns := array(select y from account_year y
                   join insurance_accounts a on a.person_id = y.person_id and a.opened_year = y.insurance_year
                   where y.person_id = any (p_person_ids) and y.insurance_year = p_year);
    return query
    select y.person_id,
           greatest(0, least(
               f.freed_fen - y.freed_fen - coalesce((
                   select sum(w.rolled_fen) from account_year_sweep w
                   where w.person_id = y.person_id and w.insurance_year = y.insurance_year), 0),
               a.current_year_posted_fen - a.current_year_held_fen
                   - (current_year_credits(y.person_id) - y.credits_fen)))::bigint
    from unnest(turns) y
    join freed_by_bills(array(select t.person_id from unnest(turns) t),
                        array(select t.account_version from unnest(turns) t)) f on f.person_id = y.person_id
    join insurance_accounts a on a.person_id = y.person_id;
end $$;

create type year_sweep as (person_id bigint, sweep_id uuid);

create function sweep_year(p_items jsonb, p_year int, p_posting_date date, p_now timestamptz)
returns table (person_id bigint, rolled_fen bigint) language plpgsql as $$
-- Carries over the remainders of older years of a batch of persons; nothing where there is none.
#variable_conflict use_column
declare
    items  year_sweep[];
    sweeps account_year_sweep[];
begin
    items := array(select r from jsonb_populate_recordset(null::year_sweep, p_items) r order by r.person_id);
    perform lock_persons(array(select r.person_id from unnest(items) r));

    with made as (
        insert into account_year_sweep (person_id, insurance_year, sweep_id, rolled_fen, posting_date, swept_at)
        select r.person_id, p_year, r.sweep_id, v.rolled_fen, p_posting_date, p_now
        from unnest(items) r
        join remainders(array(select r.person_id from unnest(items) r), p_year) v on v.person_id = r.person_id
        where v.rolled_fen > 0
        returning account_year_sweep as sweep)
    select coalesce(array_agg(m.sweep), '{}') into sweeps from made m;

    insert into transfer
    select w.person_id, p_posting_date, w.sweep_id, 'rollover', 'person/current_year', 'person/carried_over', w.rolled_fen,
           p_posting_date, p_now
    from unnest(sweeps) w;

    update insurance_accounts a set
        version = a.version + 1,
        current_year_posted_fen = a.current_year_posted_fen - w.rolled_fen,
        carried_over_posted_fen = a.carried_over_posted_fen + w.rolled_fen
    from unnest(sweeps) w
    where a.person_id = w.person_id;

    return query select w.person_id, w.rolled_fen from unnest(sweeps) w order by w.person_id;
end $$;
