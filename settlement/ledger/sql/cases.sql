-- name: open_cases
-- Cases in doubt that began before $1, of one bank or (null) all; the oldest first.
select * from open_case where began_at <= $1 and ($2::text is null or bank_code = $2) order by began_at, saga_id;

-- name: count_open_cases
-- By kind of leg and bank: how many, how many of them began before $2, and the age of the oldest in seconds.
select leg, bank_code, count(*) as legs, count(*) filter (where began_at < $2) as old,
       extract(epoch from $1 - min(began_at))::bigint as oldest_s
from open_case
group by leg, bank_code;

-- name: raise_case_alarms
-- Cases that have become old and were not told yet, so many at most.
select * from raise_case_alarms($1, $2, $3);
