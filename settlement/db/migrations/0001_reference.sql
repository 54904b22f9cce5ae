-- Institutions, terminals and their sessions: small tables, copied to every node.

create table institution (
    institution_id text primary key check (institution_id ~ '^[A-Z0-9]{12}$'),
    name           text not null check (name <> ''),
    kind           text not null check (kind in ('hospital', 'pharmacy')),
    level          smallint not null check (level between 1 and 3),
    state          text not null default 'active' check (state in ('active', 'suspended')),
    registered_at  timestamptz not null
);
comment on table institution is 'A hospital or pharmacy; institution_id is the national code (fixmedins_code, 12).';

create table terminal (
    terminal_id             text primary key check (terminal_id ~ '^[A-Z0-9]{8}$'),
    institution_id          text not null references institution,
    state                   text not null check (state in ('registered', 'enrolled', 'suspended')),
    enrolment_code_digest   bytea,
    enrolment_expires_at    timestamptz,
    certificate_der         bytea,
    certificate_fingerprint text unique,
    certificate_not_after   timestamptz,
    registered_at           timestamptz not null,
    enrolled_at             timestamptz,
    suspended_at            timestamptz,
    suspend_reason          text,
    check (state <> 'enrolled' or (certificate_der is not null and certificate_fingerprint is not null
                                   and certificate_not_after is not null and enrolled_at is not null)),
    check (state <> 'suspended' or suspended_at is not null)
);
comment on table terminal is 'A till or kiosk; it belongs to one institution and can be suspended.';

create table terminal_session (
    session_id  uuid primary key,
    terminal_id text not null references terminal,
    issued_at   timestamptz not null,
    expires_at  timestamptz not null check (expires_at > issued_at)
);
create index terminal_session_of on terminal_session (terminal_id, expires_at);
comment on table terminal_session is 'A day''s session; its working keys are derived from the master key and stored nowhere.';

-- Unlogged: after a crash of the database a nonce of the last minutes may come twice, and meets the idempotency key.
create unlogged table request_nonce (
    terminal_id text not null,
    nonce       text not null,
    expires_at  timestamptz not null,
    primary key (terminal_id, nonce)
);
create index request_nonce_expiry on request_nonce (expires_at);

-- Used by every append-only table.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are append-only', tg_table_name using errcode = 'restrict_violation';
end $$;
