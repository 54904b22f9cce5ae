-- name: admit_requests
-- Judge and remember a batch of requests whose MAC was right.
select verdict, terminal_id, institution_id, institution_name, institution_kind, institution_level
from admit_requests($1, $2, $3, $4, $5) order by ord;

-- name: terminal_certificate
-- What a sign-in is checked against.
select certificate_der, certificate_fingerprint from terminal where terminal_id = $1 and certificate_der is not null;

-- name: open_session
-- Open the session of a terminal that has proved itself.
select verdict, institution_id, expires_at from open_session($1, $2, $3, $4, $5, $6);

-- name: take_enrolment_try
-- Count a try, and read what the code is compared with.
select digest, institution_id, terminal_state, institution_state from take_enrolment_try($1, $2);

-- name: enrol_terminal
-- Use the code up and keep the certificate.
select enrol_terminal($1, $2, $3, $4, $5, $6);

-- name: purge_admissions
-- Forget expired nonces and sessions.
select purge_admissions($1, $2);

-- name: add_institution
-- Enter a hospital or pharmacy.
select add_institution($1, $2, $3, $4, $5);

-- name: issue_enrolment_code
-- Register a terminal, or renew its one-time code.
select issue_enrolment_code($1, $2, $3, $4, $5, $6);

-- name: suspend_terminal
-- Stop one terminal at once.
select suspend_terminal($1, $2, $3);

-- name: resume_terminal
-- Let a terminal sign in again.
select resume_terminal($1, $2);

-- name: set_institution_suspended
-- Stop or admit all terminals of an institution at once.
select set_institution_suspended($1, $2, $3, $4);

-- name: list_terminals
-- Terminals in the order of institution and id; $1 (null: all) names the institution, $2 (null: all) the terminal.
select t.terminal_id, t.institution_id, i.name as institution_name, i.kind as institution_kind,
       i.level::int as institution_level, i.state as institution_state, t.state, t.registered_at, t.enrolled_at,
       t.certificate_fingerprint, t.certificate_not_after, t.suspended_at, t.suspend_reason,
       t.enrolment_expires_at, t.enrolment_tries_left,
       (select count(*) from terminal_session s where s.terminal_id = t.terminal_id and s.expires_at > $3) as sessions
from terminal t
join institution i on i.institution_id = t.institution_id
where ($1::text is null or t.institution_id = $1) and ($2::text is null or t.terminal_id = $2)
order by t.institution_id, t.terminal_id;

-- name: list_institutions
-- Institutions with the number of their terminals.
select i.institution_id, i.name, i.kind, i.level::int as level, i.state, i.suspend_reason,
       (select count(*) from terminal t where t.institution_id = i.institution_id) as terminals
from institution i
order by i.institution_id;

-- name: terminal_events
-- What happened to a terminal, oldest first.
select event, detail, happened_at from terminal_event where terminal_id = $1 order by event_no;
