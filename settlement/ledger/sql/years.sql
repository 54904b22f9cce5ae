-- name: opened_years
-- The insurance year that the books are in, and when it was first opened for anybody.
select max(opened_year) as opened_year,
       (select min(y.opened_at) from account_year y where y.insurance_year = $1) as began_at
from insurance_accounts;

-- name: judge_openings
-- What would become of persons whose year is to be opened.
select ord, outcome, rolled_fen, credited_fen
from judge_openings($1, array(select r from jsonb_populate_recordset(null::year_opening, $2::text::jsonb) r));

-- name: open_year
-- Turn the year for a batch of persons.
select ord, outcome, rolled_fen, credited_fen from open_year($1::text::jsonb, $2, $3, $4, $5, $6);

-- name: count_unopened
-- For how many the year was not opened yet, and what would be carried over.
select count(*) as persons, coalesce(sum(current_year_posted_fen - current_year_held_fen), 0)::bigint as rolled_fen
from insurance_accounts where opened_year is null or opened_year < $1;

-- name: unopened
-- A page of those for whom the year was not opened yet.
select person_id from insurance_accounts
where person_id > $2 and (opened_year is null or opened_year < $1)
order by person_id limit $3;

-- name: count_opened
-- For how many the year was opened before a moment.
select count(*) from account_year where insurance_year = $1 and opened_at < $2;

-- name: opened
-- A page of those for whom it was.
select person_id from account_year
where insurance_year = $1 and opened_at < $2 and person_id > $3
order by person_id limit $4;

-- name: remainders
-- What came back to persons from older years and was not carried over yet.
select person_id, rolled_fen from remainders($1, $2) where rolled_fen > 0;

-- name: sweep_year
-- Carry over the remainders of a batch of persons.
select person_id, rolled_fen from sweep_year($1::text::jsonb, $2, $3, $4);

-- name: take_turn
-- One run of the job at a time; the connection holds this until it ends or gives it back.
select pg_try_advisory_lock($1);

-- name: give_turn_back
select pg_advisory_unlock($1);
