-- Terminals: enrolment, sign-in (签到) and the admission of every request, one function each.
-- Working keys are no columns: they are derived from the master key and the session's id.

alter table terminal
    add column enrolment_tries_left smallint not null default 0 check (enrolment_tries_left >= 0),
    add check (state <> 'registered' or certificate_der is null);
comment on column terminal.enrolment_code_digest is 'Keyed digest (HMAC-SM3) of the one-time code; null once used.';
comment on column terminal.enrolment_tries_left is 'Wrong codes that are still taken before a new one is needed.';

alter table institution add column suspended_at timestamptz, add column suspend_reason text,
    add check (state <> 'suspended' or suspended_at is not null);

-- admission: who wrote the row, so that the same call repeated after a lost connection meets its own row.
truncate request_nonce;
alter table request_nonce add column admission uuid not null;

create table terminal_event (
    event_no       bigint generated always as identity primary key,
    terminal_id    text,
    institution_id text not null,
    event          text not null check (event in ('registered', 'code_issued', 'enrolled', 'suspended', 'resumed')),
    detail         text,
    happened_at    timestamptz not null
);
create index terminal_event_of on terminal_event (terminal_id, event_no);
comment on table terminal_event is 'What happened to a terminal, or (terminal_id null) to a whole institution.';
create trigger terminal_event_append_only before update or delete on terminal_event
    for each row execute function refuse_change();
create trigger terminal_event_no_truncate before truncate on terminal_event execute function refuse_change();

create function add_institution(p_institution_id text, p_name text, p_kind text, p_level int, p_now timestamptz)
returns text language plpgsql as $$
-- 'added', 'known' (the same again) or 'differs': known under other particulars, nothing was changed.
declare
    known institution;
begin
    insert into institution (institution_id, name, kind, level, registered_at)
    values (p_institution_id, p_name, p_kind, p_level, p_now) on conflict do nothing;
    if found then
        insert into terminal_event (institution_id, event, happened_at) values (p_institution_id, 'registered', p_now);
        return 'added';
    end if;
    select * into strict known from institution i where i.institution_id = p_institution_id;
    return case when (known.name, known.kind, known.level::int) = (p_name, p_kind, p_level) then 'known' else 'differs' end;
end $$;

create function issue_enrolment_code(
    p_terminal_id text, p_institution_id text, p_digest bytea, p_expires_at timestamptz, p_tries int, p_now timestamptz
) returns text language plpgsql as $$
-- Registers a terminal with its one-time code, or gives a known terminal a new one; an older code ends. What the terminal
-- was enrolled with stays valid until the new code is used.
-- 'registered', 'renewed', 'no_institution' or 'other_institution'.
declare
    known  terminal;
    answer text := 'renewed';
begin
    if not exists (select from institution i where i.institution_id = p_institution_id) then
        return 'no_institution';
    end if;
    insert into terminal (terminal_id, institution_id, state, registered_at)
    values (p_terminal_id, p_institution_id, 'registered', p_now) on conflict do nothing;
    if found then
        answer := 'registered';
        insert into terminal_event (terminal_id, institution_id, event, happened_at)
        values (p_terminal_id, p_institution_id, 'registered', p_now);
    end if;
    select * into strict known from terminal t where t.terminal_id = p_terminal_id for update;
    if known.institution_id <> p_institution_id then
        return 'other_institution';
    end if;
    update terminal t
    set enrolment_code_digest = p_digest, enrolment_expires_at = p_expires_at, enrolment_tries_left = p_tries
    where t.terminal_id = p_terminal_id;
    insert into terminal_event (terminal_id, institution_id, event, happened_at)
    values (p_terminal_id, p_institution_id, 'code_issued', p_now);
    return answer;
end $$;

create function take_enrolment_try(p_terminal_id text, p_now timestamptz)
returns table (digest bytea, institution_id text, terminal_state text, institution_state text) language sql as $$
-- Every try is counted before the code is compared, so that tries side by side are counted too. No row: no code is open.
    update terminal t set enrolment_tries_left = t.enrolment_tries_left - 1
    from institution i
    where t.terminal_id = p_terminal_id and t.enrolment_code_digest is not null and t.enrolment_expires_at > p_now
      and t.enrolment_tries_left > 0 and i.institution_id = t.institution_id
    returning t.enrolment_code_digest, t.institution_id, t.state, i.state;
$$;

create function enrol_terminal(
    p_terminal_id text, p_digest bytea, p_certificate_der bytea, p_fingerprint text, p_not_after timestamptz,
    p_now timestamptz
) returns boolean language plpgsql as $$
-- Uses the code up and keeps the certificate; sessions under an older certificate end. False: the code was used, replaced
-- or expired meanwhile, or the terminal was suspended.
begin
    update terminal t set
        state = 'enrolled', enrolment_code_digest = null, enrolment_expires_at = null, enrolment_tries_left = 0,
        certificate_der = p_certificate_der, certificate_fingerprint = p_fingerprint,
        certificate_not_after = p_not_after, enrolled_at = p_now
    where t.terminal_id = p_terminal_id and t.enrolment_code_digest = p_digest and t.enrolment_expires_at > p_now
      and t.state <> 'suspended';
    if not found then
        return false;
    end if;
    delete from terminal_session s where s.terminal_id = p_terminal_id;
    insert into terminal_event (terminal_id, institution_id, event, detail, happened_at)
    select t.terminal_id, t.institution_id, 'enrolled', p_fingerprint, p_now from terminal t
    where t.terminal_id = p_terminal_id;
    return true;
end $$;

create function open_session(
    p_terminal_id text, p_fingerprint text, p_session_id uuid, p_now timestamptz, p_expires_at timestamptz,
    p_sessions_max int
) returns table (verdict text, institution_id text, expires_at timestamptz) language plpgsql as $$
-- 'opened', 'certificate_unknown', 'certificate_expired', 'terminal_suspended' or 'institution_suspended'. The same id
-- again gives the session as it was opened. Of one terminal's sessions only the newest p_sessions_max are kept.
#variable_conflict use_column
declare
    t terminal;
    institution_state text;
begin
    select * into t from terminal x where x.terminal_id = p_terminal_id for update;
    if not found or t.certificate_fingerprint is distinct from p_fingerprint then
        return query select 'certificate_unknown', null::text, null::timestamptz;
        return;
    end if;
    select i.state into strict institution_state from institution i where i.institution_id = t.institution_id;
    if t.state = 'suspended' or institution_state = 'suspended' then
        return query select case when t.state = 'suspended' then 'terminal_suspended' else 'institution_suspended' end,
                            t.institution_id, null::timestamptz;
        return;
    end if;
    if t.certificate_not_after <= p_now then
        return query select 'certificate_expired', t.institution_id, null::timestamptz;
        return;
    end if;
    insert into terminal_session values (p_session_id, p_terminal_id, p_now, least(p_expires_at, t.certificate_not_after))
    on conflict do nothing;
    delete from terminal_session s
    where s.terminal_id = p_terminal_id and s.session_id <> p_session_id
      and s.session_id not in (select k.session_id from terminal_session k
                               where k.terminal_id = p_terminal_id and k.expires_at > p_now
                               order by k.issued_at desc, k.session_id desc limit p_sessions_max);
    return query select 'opened', t.institution_id, s.expires_at from terminal_session s where s.session_id = p_session_id;
end $$;

create function admit_requests(
    p_session_ids uuid[], p_nonces text[], p_admissions uuid[], p_nonces_expire_at timestamptz[], p_now timestamptz
) returns table (
    ord bigint, verdict text, terminal_id text, institution_id text, institution_name text, institution_kind text,
    institution_level int
) language plpgsql as $$
-- For each request whose MAC was right: is its session open, may terminal and institution act now, is the nonce new?
-- 'admitted', 'no_session', 'terminal_suspended', 'institution_suspended' or 'replayed'; only 'admitted' keeps a nonce.
-- Nonces are kept in order, so that two batches with the same ones never wait for each other.
#variable_conflict use_column
begin
    return query
    with asked as (
        select * from unnest(p_session_ids, p_nonces, p_admissions, p_nonces_expire_at) with ordinality
            as a (session_id, nonce, admission, nonce_expires_at, ord)),
    judged as (
        select a.ord, a.nonce, a.admission, a.nonce_expires_at, t.terminal_id, i.institution_id, i.name, i.kind, i.level,
               case when s.session_id is null or s.expires_at <= p_now or t.state = 'registered' then 'no_session'
                    when t.state = 'suspended' then 'terminal_suspended'
                    when i.state = 'suspended' then 'institution_suspended'
                    else 'admitted' end as verdict
        from asked a
        left join terminal_session s on s.session_id = a.session_id
        left join terminal t on t.terminal_id = s.terminal_id
        left join institution i on i.institution_id = t.institution_id),
    kept as (
        insert into request_nonce (terminal_id, nonce, expires_at, admission)
        select j.terminal_id, j.nonce, j.nonce_expires_at, j.admission from judged j where j.verdict = 'admitted'
        order by j.terminal_id, j.nonce
        on conflict do nothing
        returning admission)
    select j.ord,
           case when j.verdict <> 'admitted' or exists (select from kept k where k.admission = j.admission)
                     or exists (select from request_nonce n where n.terminal_id = j.terminal_id and n.nonce = j.nonce
                                and n.admission = j.admission)
                then j.verdict else 'replayed' end,
           j.terminal_id, j.institution_id, j.name, j.kind, j.level::int
    from judged j
    order by j.ord;
end $$;

create function suspend_terminal(p_terminal_id text, p_reason text, p_now timestamptz) returns text language plpgsql as $$
-- 'suspended', 'unchanged' or 'unknown'. It acts on the terminal's very next request.
declare
    t terminal;
begin
    select * into t from terminal x where x.terminal_id = p_terminal_id for update;
    if not found then
        return 'unknown';
    elsif t.state = 'suspended' then
        return 'unchanged';
    end if;
    update terminal x set state = 'suspended', suspended_at = p_now, suspend_reason = p_reason
    where x.terminal_id = p_terminal_id;
    insert into terminal_event (terminal_id, institution_id, event, detail, happened_at)
    values (t.terminal_id, t.institution_id, 'suspended', p_reason, p_now);
    return 'suspended';
end $$;

create function resume_terminal(p_terminal_id text, p_now timestamptz) returns text language plpgsql as $$
-- 'resumed', 'unchanged' or 'unknown'. Its sessions ended with the suspension: it has to sign in again.
declare
    t terminal;
begin
    select * into t from terminal x where x.terminal_id = p_terminal_id for update;
    if not found then
        return 'unknown';
    elsif t.state <> 'suspended' then
        return 'unchanged';
    end if;
    delete from terminal_session s where s.terminal_id = p_terminal_id;
    update terminal x set state = case when x.certificate_der is null then 'registered' else 'enrolled' end,
        suspended_at = null, suspend_reason = null
    where x.terminal_id = p_terminal_id;
    insert into terminal_event (terminal_id, institution_id, event, happened_at)
    values (t.terminal_id, t.institution_id, 'resumed', p_now);
    return 'resumed';
end $$;

create function set_institution_suspended(p_institution_id text, p_suspended boolean, p_reason text, p_now timestamptz)
returns text language plpgsql as $$
-- 'suspended' or 'resumed', 'unchanged' or 'unknown'. Stops or admits all terminals of an institution at once.
declare
    i institution;
    wanted text := case when p_suspended then 'suspended' else 'active' end;
begin
    select * into i from institution x where x.institution_id = p_institution_id for update;
    if not found then
        return 'unknown';
    elsif i.state = wanted then
        return 'unchanged';
    end if;
    update institution x set state = wanted, suspended_at = case when p_suspended then p_now end,
        suspend_reason = case when p_suspended then p_reason end
    where x.institution_id = p_institution_id;
    insert into terminal_event (institution_id, event, detail, happened_at)
    values (p_institution_id, case when p_suspended then 'suspended' else 'resumed' end, p_reason, p_now);
    return case when p_suspended then 'suspended' else 'resumed' end;
end $$;

create function purge_admissions(p_now timestamptz, p_limit int) returns bigint language sql as $$
-- Forgets expired nonces and sessions, a bounded number per call; several processes may do so side by side.
    with old_nonces as (
        select terminal_id, nonce from request_nonce where expires_at < p_now
        order by expires_at limit p_limit for update skip locked),
    nonces as (
        delete from request_nonce n using old_nonces o
        where n.terminal_id = o.terminal_id and n.nonce = o.nonce returning 1),
    old_sessions as (
        select session_id from terminal_session where expires_at < p_now - interval '1 day'
        limit p_limit for update skip locked),
    sessions as (
        delete from terminal_session s using old_sessions o where s.session_id = o.session_id returning 1)
    select (select count(*) from nonces) + (select count(*) from sessions);
$$;
