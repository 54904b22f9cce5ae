-- name: admit
-- Open a stay.
select outcome, stay_id, batch_no, line_no from admit_stay($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: upload
-- Add a batch of fees.
select outcome, stay_id, batch_no, line_no from upload_fees($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $9);

-- name: withdraw
-- Take a batch back.
select outcome, stay_id, batch_no, line_no from withdraw_fees($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: cancel
-- Take an admission back.
select outcome, stay_id, batch_no, line_no from cancel_stay($1, $2, $3, $4, $5, $6, $7, $8);

-- name: find
-- A stay of this institution.
select s.person_id, s.stay_id, s.institution_id, s.stay_no, s.visit_type, s.card_id, s.admitted_on, s.admitted_at,
       s.cancelled_at, s.version
from saga_directory d
join stay s on s.person_id = d.person_id and s.stay_id = d.saga_id
where d.institution_id = $1 and d.saga_id = $2 and d.kind = 'stay';

-- name: open_lines
-- What is to be settled of a stay, up to a service date.
select line_no, service_date, item_code, item_name, category, amount_fen, quantity from open_stay_lines($1, $2, $3);

-- name: deposits
-- How many deposits were ever asked for, what of them is left (fen), and whether the final settlement is open or stands.
select (select count(*) from stay_settlement x where x.person_id = $1 and x.stay_id = $2 and x.part = 'deposit') as asked,
       deposit_left($1, $2) as left_fen,
       exists (select from standing_stay_settlements($1, $2) x where x.part = 'final') as discharged;

-- name: summary
-- Batches, sums in fen, and the settlements that are open or stand.
select (select coalesce(jsonb_agg(jsonb_build_object('batch_no', b.batch_no, 'lines', b.lines, 'total_fen', b.total_fen,
                                                     'uploaded_at', b.uploaded_at, 'withdrawn', b.withdrawn_at is not null)
                                  order by b.batch_no), '[]')
        from stay_batch b where b.person_id = $1 and b.stay_id = $2) as batches,
       (select count(*) from open_stay_lines($1, $2, null)) as open_lines,
       (select coalesce(sum(l.amount_fen), 0)::bigint from open_stay_lines($1, $2, null) l) as open_fen,
       (select coalesce(jsonb_agg(jsonb_build_object('settlement_id', x.settlement_id, 'part', x.part,
                                                     'settled', x.decision = 'forward')
                                  order by x.acceptance_date, x.settlement_id), '[]')
        from standing_stay_settlements($1, $2) x) as settlements,
       deposit_left($1, $2) as deposit_left_fen;
