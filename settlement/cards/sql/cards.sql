-- name: load_card
-- A card, its person's accounts, and coverage and counters on a service date, by the blind index of the card number.
select * from load_card($1, $2);

-- name: find_card
-- Which card a blind index names.
select person_id, card_id from card_index where blind_index = $1;

-- name: next_person_id
-- An id for a new person: the ciphertexts are bound to it, so it is needed before the row.
select nextval('person_id_seq');

-- name: next_card_id
-- An id for a new card, for the same reason.
select nextval('card_id_seq');

-- name: register_person
-- Enter a person and open the accounts; the id of the person that has this ID number.
select register_person($1, $2, $3, $4, $5);

-- name: register_card
-- Enter a card that does nothing yet; false if the number is known.
select register_card($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: activate_card
-- Activate a function; the person's card in use until now is voided.
select activate_card($1, $2, $3, $4, $5);

-- name: set_card_frozen
-- Freeze a function, or make it active again.
select set_card_frozen($1, $2, $3, $4, $5);

-- name: end_card
-- Report a card lost, or void it.
select end_card($1, $2, $3, $4);

-- name: revoke_card_certificate
-- Revoke a card's certificate.
select revoke_card_certificate($1, $2, $3);

-- name: credit_person
-- Put money on one insurance account, under the person's lock.
select credit_person($1, $2, $3, $4, $5, $6, $7);

-- name: person
-- A person's sealed name and ID number.
select name_sealed, id_number_sealed from person where person_id = $1;

-- name: card_number
-- A card's sealed number.
select card_number_sealed from card where person_id = $1 and card_id = $2;

-- name: describe_card
-- A card, its person and the accounts, for an operator.
select c.person_id, c.card_id, c.card_number_sealed, c.kind, c.life, c.social, c.financial, c.issued_on, c.expires_on,
       c.certificate_fingerprint, c.certificate_not_after, c.certificate_revoked_at, c.bank_code, c.pan_sealed,
       c.last_counter, p.name_sealed, p.id_number_sealed,
       a.current_year_posted_fen - a.current_year_held_fen as current_year_available_fen,
       a.carried_over_posted_fen - a.carried_over_held_fen as carried_over_available_fen
from card c
join person p on p.person_id = c.person_id
join insurance_accounts a on a.person_id = c.person_id
where c.person_id = $1 and c.card_id = $2;

-- name: card_events
-- A card's history, oldest first.
select event, happened_at, (detail ->> 'replaced_by')::bigint as replaced_by
from card_event where person_id = $1 and card_id = $2 order by event_no;

-- name: list_cards
-- One page of cards in the order of person and card, from after the given one on.
select person_id, card_id, card_number_sealed, kind, life, social, financial, expires_on, bank_code
from card where (person_id, card_id) > ($1, $2) order by person_id, card_id limit $3;

-- name: note_coverage
-- By which plan a person is covered from a day on.
select note_coverage($1, $2, $3, $4, $5, $6, $7);

-- name: coverages
-- What was noted of a person's coverage, as it stands, oldest first.
select distinct on (valid_from) valid_from, plan, status, retired_on, at_work_by
from person_coverage where person_id = $1 order by valid_from, coverage_no desc;

-- name: find_by_id_number
-- The persons of many ID numbers, by their blind indexes.
select k.ord, i.person_id
from unnest($1::bytea[]) with ordinality as k (blind_index, ord)
join person_index i on i.blind_index = k.blind_index;

-- name: find_by_card_number
-- The persons of many card numbers, by their blind indexes; void and lost cards name their person too.
select k.ord, i.person_id
from unnest($1::bytea[]) with ordinality as k (blind_index, ord)
join card_index i on i.blind_index = k.blind_index;
