-- Cases in doubt that have become old: each is told once, whichever process sees it first, also after a restart.

create table case_alarm (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    leg             text not null,
    alarmed_at      timestamptz not null,
    primary key (person_id, acceptance_date, saga_id, leg)
);
comment on table case_alarm is 'Cases in doubt that were told as old. Not money: rows of ended cases may be deleted.';

create view open_case as
-- Every bank leg that is not final, with what an operator needs to know. It began when the bill, or its reversal, came.
select l.person_id, l.acceptance_date, l.saga_id, l.leg, coalesce(u.kind, 'settlement') as kind, s.settlement_id,
       s.institution_id, coalesce(u.terminal_id, s.terminal_id) as terminal_id, l.bank_code, l.amount_fen, l.state, l.verb,
       l.cause, l.response_code, l.reference, l.trace, l.transmitted, l.attempts, l.next_attempt_at,
       s.decision, s.decision_cause, s.deadline_at, s.accepted_at, coalesce(u.requested_at, s.accepted_at) as began_at
from leg l
left join undo u on u.person_id = l.person_id and u.acceptance_date = l.acceptance_date and u.undo_id = l.saga_id
join settlement s on s.person_id = l.person_id and s.acceptance_date = l.acceptance_date
                 and s.settlement_id = coalesce(u.settlement_id, l.saga_id)
where l.next_attempt_at is not null;

create function raise_case_alarms(p_now timestamptz, p_before timestamptz, p_limit int) returns setof open_case
language sql as $$
-- The open cases that began before p_before and were not told yet, so many at most; told from now on.
    with told as (
        insert into case_alarm
        select c.person_id, c.acceptance_date, c.saga_id, c.leg, p_now
        from open_case c
        where c.began_at < p_before
          and not exists (select from case_alarm a where a.person_id = c.person_id and a.acceptance_date = c.acceptance_date
                          and a.saga_id = c.saga_id and a.leg = c.leg)
        order by c.began_at
        limit p_limit
        on conflict do nothing
        returning person_id, acceptance_date, saga_id, leg)
    select c.* from told t
    join open_case c on c.person_id = t.person_id and c.acceptance_date = t.acceptance_date and c.saga_id = t.saga_id
                    and c.leg = t.leg;
$$;
