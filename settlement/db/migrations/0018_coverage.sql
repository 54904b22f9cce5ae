-- By which plan of the medical insurance a person is covered, and as whom, from which day on.

create table person_coverage (
    person_id   bigint not null references person,
    valid_from  date not null,
    coverage_no bigint generated always as identity,
    plan        text check (plan ~ '^[a-z][a-z0-9_-]{0,31}$'),
    status      text check (status in ('working', 'retired', 'resident', 'minor')),
    retired_on  date,
    at_work_by  date,
    noted_at    timestamptz not null,
    primary key (person_id, valid_from, coverage_no),
    check ((plan is null) = (status is null)),
    check (retired_on is null or status = 'retired'),
    check (at_work_by is null or status in ('working', 'retired')),
    check (at_work_by <= retired_on)
);
comment on table person_coverage is
    'Each holds from its day until the next; of several for one day the last noted. Without plan: covered by none from then on.
     The day of birth is in the ID number, which is sealed.';
create trigger person_coverage_append_only before update or delete on person_coverage
    for each row execute function refuse_change();
create trigger person_coverage_no_truncate before truncate on person_coverage execute function refuse_change();

create function note_coverage(
    p_person_id bigint, p_valid_from date, p_plan text, p_status text, p_retired_on date, p_at_work_by date, p_now timestamptz
) returns boolean language plpgsql as $$
-- False: that is how it stands already. Under the person's lock and with a new version of the accounts: a bill that was
-- judged by another coverage is judged again.
declare
    c person_coverage;
begin
    perform lock_persons(array[p_person_id]);
    select * into c from person_coverage t where t.person_id = p_person_id and t.valid_from = p_valid_from
    order by t.coverage_no desc limit 1;
    if found and (c.plan, c.status, c.retired_on, c.at_work_by)
                 is not distinct from (p_plan, p_status, p_retired_on, p_at_work_by) then
        return false;
    end if;
    insert into person_coverage (person_id, valid_from, plan, status, retired_on, at_work_by, noted_at)
    values (p_person_id, p_valid_from, p_plan, p_status, p_retired_on, p_at_work_by, p_now);
    update insurance_accounts a set version = a.version + 1 where a.person_id = p_person_id;
    return true;
end $$;
