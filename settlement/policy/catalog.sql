-- name: make_room
-- Where a file's items wait until they are compared.
create temporary table catalog_file (like catalog_item) on commit drop;
alter table catalog_file alter column import_no drop not null;

-- name: what_changes
-- How many versions are new, and how many are said otherwise than before.
select count(*) filter (where c.code is null) as added,
       count(*) filter (where c.code is not null
           and (f.valid_to, f.name, f.category, f.share, f.ceiling_fen)
               is distinct from (c.valid_to, c.name, c.category, c.share, c.ceiling_fen)) as changed
from catalog_file f left join catalog_item c using (code, valid_from);

-- name: note_import
insert into catalog_import (file_name, file_digest, items, added, changed, imported_at)
values ($1, $2, $3, $4, $5, $6) returning import_no;

-- name: merge
-- New versions and changed ones together: the guard looks when the statement is done.
insert into catalog_item as c (code, valid_from, valid_to, name, category, share, ceiling_fen, import_no)
select f.code, f.valid_from, f.valid_to, f.name, f.category, f.share, f.ceiling_fen, $1 from catalog_file f
on conflict (code, valid_from) do update set
    valid_to = excluded.valid_to, name = excluded.name, category = excluded.category, share = excluded.share,
    ceiling_fen = excluded.ceiling_fen, import_no = excluded.import_no
where (excluded.valid_to, excluded.name, excluded.category, excluded.share, excluded.ceiling_fen)
    is distinct from (c.valid_to, c.name, c.category, c.share, c.ceiling_fen);

-- name: versions_of
select code, valid_from, valid_to, name, category, share, ceiling_fen from catalog_item where code = $1 order by valid_from;

-- name: items_until
-- Of each of these codes all versions that began by a day.
select code, valid_from, valid_to, name, category, share, ceiling_fen from catalog_item
where code = any ($1::text[]) and valid_from <= $2;

-- name: everything
select code, valid_from, valid_to, name, category, share, ceiling_fen from catalog_item order by code, valid_from;
