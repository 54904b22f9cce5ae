-- Persons and cards. Personal data is sealed (SM4-GCM) and found by a keyed blind index; nothing here is in clear.

create sequence person_id_seq;
create sequence card_id_seq;

create table person (
    person_id        bigint primary key,
    name_sealed      bytea not null,
    id_number_sealed bytea not null,
    registered_at    timestamptz not null
);

create table person_index (
    blind_index bytea primary key check (octet_length(blind_index) = 32),
    person_id   bigint not null
);
comment on table person_index is 'Blind index of the ID number → person; distributed by blind_index.';

create table card (
    person_id               bigint not null references person,
    card_id                 bigint not null,
    kind                    text not null check (kind in ('third_generation', 'legacy')),
    card_number_sealed      bytea not null,
    life                    text not null default 'issued' check (life in ('issued', 'lost', 'void')),
    social                  text not null default 'inactive' check (social in ('inactive', 'active', 'frozen')),
    financial               text not null default 'inactive' check (financial in ('inactive', 'active', 'frozen')),
    issued_on               date not null,
    expires_on              date not null check (expires_on > issued_on),
    certificate_der         bytea,
    certificate_fingerprint text,
    certificate_not_after   timestamptz,
    certificate_revoked_at  timestamptz,
    public_key              bytea,
    bank_code               text,
    pan_sealed              bytea,
    last_counter            bigint not null default 0,
    registered_at           timestamptz not null,
    primary key (person_id, card_id),
    check (kind = 'legacy' or (certificate_der is not null and certificate_fingerprint is not null
                               and certificate_not_after is not null and public_key is not null)),
    check (kind <> 'legacy' or (financial = 'inactive' and bank_code is null and pan_sealed is null)),
    check ((bank_code is null) = (pan_sealed is null)),
    check (financial = 'inactive' or bank_code is not null)
);
-- Never two valid cards of one person: the old one is voided by the activation of the new one, in one transaction.
create unique index card_one_valid on card (person_id) where life = 'issued' and social <> 'inactive';
comment on column card.last_counter is 'The highest transaction counter seen; a proof must bring a higher one.';

create table card_index (
    blind_index bytea primary key check (octet_length(blind_index) = 32),
    person_id   bigint not null,
    card_id     bigint not null
);
comment on table card_index is 'Blind index of the card number → card; distributed by blind_index.';

create table card_event (
    person_id   bigint not null,
    card_id     bigint not null,
    event_no    bigint generated always as identity,
    event       text not null,
    detail      jsonb not null default '{}',
    happened_at timestamptz not null,
    primary key (person_id, card_id, event_no)
);
create trigger card_event_append_only before update or delete on card_event
    for each row execute function refuse_change();
create trigger card_event_no_truncate before truncate on card_event execute function refuse_change();
