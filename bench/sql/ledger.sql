-- name: institution
-- The hospital that all bills belong to.
insert into institution values ($1, 'bench', 'hospital', 3, 'active', now());

-- name: persons
-- So many persons, each with accounts and an active card whose id is the person's; the numbers are drawn from the sequence.
with drawn as (select nextval('person_id_seq') as id from generate_series(1, $1::int)),
     person as (insert into person select id, '\x01', '\x02', now() from drawn returning person_id),
     accounts as (insert into insurance_accounts (person_id) select id from drawn returning person_id),
     card as (
         insert into card (person_id, card_id, kind, card_number_sealed, social, financial, issued_on, expires_on,
                           certificate_sealed, certificate_fingerprint, certificate_not_after, public_key,
                           bank_code, pan_sealed, registered_at)
         select id, id, 'third_generation', '\x03', 'active', 'active', date '2020-01-01', date '2099-01-01',
                '\x04', 'f', timestamptz '2099-01-01', '\x05', 'ICBC', '\x06', now()
         from drawn returning person_id)
select id from drawn order by id;

-- name: credit
-- One credit for each of these persons, of so many fen, on the current-year account.
select count(*) from unnest($1::bigint[]) person_id
where credit_account(person_id, gen_random_uuid(), 'current_year', $2::bigint, 'bench', $3::date, now());
