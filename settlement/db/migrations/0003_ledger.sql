-- The ledger: a person's insurance accounts with stored balances, two-phase holds, and posted transfers.
-- Every row carries person_id first in its key (one settlement touches one shard) and is partitioned by date from the start.

create table insurance_accounts (
    person_id               bigint primary key references person,
    version                 bigint not null default 0,
    current_year_posted_fen bigint not null default 0 check (current_year_posted_fen >= 0),
    current_year_held_fen   bigint not null default 0 check (current_year_held_fen >= 0),
    carried_over_posted_fen bigint not null default 0 check (carried_over_posted_fen >= 0),
    carried_over_held_fen   bigint not null default 0 check (carried_over_held_fen >= 0),
    check (current_year_held_fen <= current_year_posted_fen),
    check (carried_over_held_fen <= carried_over_posted_fen)
);
comment on table insurance_accounts is
    'The only stored balances. Available = posted - held. version rises with every change; a split names the one it was made from.';

create table account_credit (
    person_id   bigint not null references insurance_accounts,
    credit_id   uuid not null,
    account     text not null check (account in ('current_year', 'carried_over')),
    amount_fen  bigint not null check (amount_fen > 0),
    reason      text not null,
    credited_at timestamptz not null,
    primary key (person_id, credit_id)
);

create table hold (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    account         text not null check (account in ('current_year', 'carried_over')),
    amount_fen      bigint not null check (amount_fen > 0),
    held_at         timestamptz not null,
    primary key (person_id, acceptance_date, saga_id, account)
) partition by range (acceptance_date);

-- The key is the promise: a hold ends once, posted or voided, never both.
create table hold_end (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    account         text not null,
    outcome         text not null check (outcome in ('posted', 'voided')),
    ended_at        timestamptz not null,
    primary key (person_id, acceptance_date, saga_id, account),
    foreign key (person_id, acceptance_date, saga_id, account) references hold
) partition by range (acceptance_date);

create table transfer (
    person_id       bigint not null,
    posting_date    date not null,
    saga_id         uuid not null,
    part            text not null check (part in ('current_year', 'carried_over', 'bank', 'cash')),
    debit_account   text not null,
    credit_account  text not null,
    amount_fen      bigint not null check (amount_fen > 0),
    acceptance_date date not null,
    posted_at       timestamptz not null,
    primary key (person_id, posting_date, saga_id, part),
    check (debit_account <> credit_account)
) partition by range (posting_date);
create index transfer_of_saga on transfer (person_id, saga_id);
comment on table transfer is
    'Double entry: each row debits one account and credits another. Accounts: person/current_year, person/carried_over
     (of person_id), institution/<code>, bank/<code>, cash/<institution>, fund/<name>.';

create table partition_plan (
    parent text primary key
);
insert into partition_plan values ('hold'), ('hold_end'), ('transfer');

create function ensure_partitions(p_from date, p_months int) returns int language plpgsql as $$
-- Makes the monthly partitions of every planned table, from the month of p_from on. Safe to repeat and to run side by side.
declare
    parent_name text;
    month_start date;
    child       text;
    made        int := 0;
begin
    perform pg_advisory_xact_lock(hashtext('settlement.partitions'));
    for parent_name in select parent from partition_plan order by parent loop
        for i in 0 .. p_months - 1 loop
            month_start := (date_trunc('month', p_from) + make_interval(months => i))::date;
            child := format('%s_%s', parent_name, to_char(month_start, 'YYYYMM'));
            if to_regclass(child) is null then
                execute format('create table %I partition of %I for values from (%L) to (%L)',
                               child, parent_name, month_start, (month_start + interval '1 month')::date);
                if exists (select from pg_trigger where tgrelid = parent_name::regclass
                           and tgname = parent_name || '_append_only') then
                    execute format('create trigger %I before truncate on %I execute function refuse_change()',
                                   child || '_no_truncate', child);
                end if;
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end $$;

create trigger hold_append_only before update or delete on hold for each row execute function refuse_change();
create trigger hold_end_append_only before update or delete on hold_end for each row execute function refuse_change();
create trigger transfer_append_only before update or delete on transfer for each row execute function refuse_change();
create trigger account_credit_append_only before update or delete on account_credit
    for each row execute function refuse_change();
create trigger account_credit_no_truncate before truncate on account_credit execute function refuse_change();
create trigger insurance_accounts_stay before delete on insurance_accounts for each row execute function refuse_change();
create trigger insurance_accounts_no_truncate before truncate on insurance_accounts execute function refuse_change();

create function credit_account(
    p_person_id bigint, p_credit_id uuid, p_account text, p_amount_fen bigint,
    p_reason text, p_posting_date date, p_now timestamptz
) returns boolean language plpgsql as $$
-- Puts money of the personal-account fund on one insurance account. False: this credit_id was booked before.
begin
    insert into account_credit values (p_person_id, p_credit_id, p_account, p_amount_fen, p_reason, p_now)
    on conflict do nothing;
    if not found then
        return false;
    end if;
    update insurance_accounts set
        version = version + 1,
        current_year_posted_fen = current_year_posted_fen + case when p_account = 'current_year' then p_amount_fen else 0 end,
        carried_over_posted_fen = carried_over_posted_fen + case when p_account = 'carried_over' then p_amount_fen else 0 end
    where person_id = p_person_id;
    insert into transfer values (p_person_id, p_posting_date, p_credit_id, p_account,
        'fund/personal_accounts', 'person/' || p_account, p_amount_fen, p_posting_date, p_now);
    return true;
end $$;
